"""Every router family of transformers: exact under its trained rule, or refused in one line.

Tiny models of each class with random weights; every correction bias is random and not zero, every scale is not one, and
there is more than one group where there are groups.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from reference.families import DEEPSEEK, FULL, LATENT, K, dense, ids, model_of, seen_under
from switchyard.errors import InputError
from switchyard.models.blocks import describe, find_moe_blocks
from switchyard.models.routers import check_family
from switchyard.routing import BenjaminiHochberg, NullDistribution, Selection, TopK, attach

EXACT: dict[str, tuple[str, dict[str, Any]]] = {
    "OLMoE": ("olmoe", {"num_experts": 16}),
    "OLMoE, normalised": ("olmoe", {"num_experts": 16, "norm_topk_prob": True}),
    "FlexOlmo": ("flex_olmo", {"num_experts": 16}),
    "Mixtral": ("mixtral", {"num_local_experts": 16}),
    "MiniMax": ("minimax", {"num_local_experts": 16, "head_dim": 8, **FULL}),
    "MiniMax-M2": ("minimax_m2", {"num_local_experts": 16, "head_dim": 8}),
    "Qwen2-MoE": ("qwen2_moe", {"num_experts": 16, "shared_expert_intermediate_size": 16}),
    "Qwen3-MoE": ("qwen3_moe", {"num_experts": 16, "head_dim": 8, "norm_topk_prob": True}),
    "Qwen3-Next": (
        "qwen3_next",
        {"num_experts": 16, "head_dim": 8, "shared_expert_intermediate_size": 16, **FULL},
    ),
    "DeepSeek-V2, greedy": ("deepseek_v2", {**DEEPSEEK, **LATENT, "topk_method": "greedy"}),
    "DeepSeek-V2, groups": ("deepseek_v2", {**DEEPSEEK, **LATENT, "topk_method": "group_limited_greedy"}),
    "DeepSeek-V3": ("deepseek_v3", {**DEEPSEEK, **LATENT}),
    "GLM-4.5": ("glm4_moe", {**DEEPSEEK, "head_dim": 8}),
    "dots1": ("dots1", {**DEEPSEEK, "head_dim": 8}),
    "dots1, not normalised": ("dots1", {**DEEPSEEK, "head_dim": 8, "norm_topk_prob": False}),
    "LFM2-MoE": (
        "lfm2_moe",
        {"num_experts": 16, "num_dense_layers": 1, "routed_scaling_factor": 1.5, **FULL},
    ),
    "LFM2-MoE, no bias": (
        "lfm2_moe",
        {"num_experts": 16, "num_dense_layers": 1, "use_expert_bias": False, **FULL},
    ),
    "ERNIE-4.5": (
        "ernie4_5_moe",
        {"moe_num_experts": 16, "moe_k": K, "moe_layer_start_index": 1, "moe_num_shared_experts": 1},
    ),
    "gpt-oss": ("gpt_oss", {"num_local_experts": 16, "head_dim": 8, **FULL}),
    "GraniteMoE": ("granitemoe", {"num_local_experts": 16}),
    "Jamba": (
        "jamba",
        {"num_experts": 16, "attn_layer_period": 1, "attn_layer_offset": 0, "use_mamba_kernels": False},
    ),
}
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "Phi-MoE": ("phimoe", {"num_local_experts": 16, "num_experts_per_tok": 2}, "router of MoE block 0"),
    "Llama": ("llama", {}, "'llama' has no experts"),
}
BIT_EQUAL = ("OLMoE", "Mixtral")


@pytest.mark.parametrize("family", EXACT)
@torch.no_grad()
def test_trained_top_k_is_the_model_itself(family: str) -> None:
    model = model_of(*EXACT[family])
    structure = check_family(model.config)
    assert structure["top_k"] == K and structure["num_layers"] == len(find_moe_blocks(model))
    plain = model(input_ids=ids()).logits
    own = seen_under(model, None, input_ids=ids())[1]
    routed, seen = seen_under(model, TopK(K), input_ids=ids())
    for (_, theirs), (_, ours) in zip(own, seen, strict=True):
        left, right = dense(theirs, 16), dense(ours, 16)
        assert ((left > 0) == (right > 0)).all()
        torch.testing.assert_close(right, left, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(routed, plain, rtol=1e-4, atol=1e-4)
    if family in BIT_EQUAL:
        assert torch.equal(routed, plain)
    assert torch.equal(model(input_ids=ids()).logits, plain)


@pytest.mark.parametrize("family", EXACT)
@torch.no_grad()
def test_decoding_is_the_models_own(family: str) -> None:
    model = model_of(*EXACT[family])
    told = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    plain = model.generate(input_ids=ids(2, 8), **told)
    with attach(model, TopK(K)):
        assert torch.equal(model.generate(input_ids=ids(2, 8), **told), plain)


@pytest.mark.parametrize("family", EXACT)
@torch.no_grad()
def test_fewer_experts_are_the_first_of_the_models_own_order(family: str) -> None:
    """Under top-2 a token keeps the two experts that its own router ranks first, weighed by the family's convention."""
    model = model_of(*EXACT[family])
    blocks = find_moe_blocks(model)
    for block in blocks:
        block.router.top_k = 2
    expected = []
    hooks = [
        block.router.register_forward_hook(lambda m, a, out: expected.append(out)) for block in blocks[:1]
    ]
    model(input_ids=ids())
    for hook in hooks:
        hook.remove()
    for block in blocks:
        block.router.top_k = K
    _, weights, experts = expected[0]
    ours = seen_under(model, TopK(2), input_ids=ids())[1][0][1]
    own = Selection(experts, weights, torch.full((len(experts),), 2))
    torch.testing.assert_close(dense(ours, 16), dense(own, 16), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("family", EXACT)
@torch.no_grad()
def test_an_adaptive_rule_chooses_by_the_scores_and_keeps_to_the_groups(family: str) -> None:
    model = model_of(*EXACT[family])
    own = seen_under(model, None, input_ids=ids())[1]
    nulls = []
    for scores, _ in own:
        ordered = scores.double().flatten().unique()
        nulls.append(NullDistribution(ordered.tolist(), torch.linspace(0, 1, len(ordered)).tolist()))
    _, seen = seen_under(model, BenjaminiHochberg(0.5, max_k=6, min_k=0, null=nulls), input_ids=ids())
    scores, selection = seen[0]
    assert 0 < selection.count.float().mean() < 6
    for token in range(0, len(scores), 7):
        count = int(selection.count[token])
        chosen = selection.experts[token, :count].tolist()
        ranked = sorted(chosen, key=lambda expert: -scores[token, expert])
        assert chosen == ranked
        if "groups" in family or EXACT[family][0] in ("deepseek_v3", "glm4_moe", "dots1"):
            assert len({expert // 4 for expert in chosen}) <= 2


@pytest.mark.parametrize("family", REFUSED)
@torch.no_grad()
def test_what_is_not_exact_is_refused_in_one_line(family: str) -> None:
    kind, own, words = REFUSED[family]
    model = model_of(kind, own)
    with pytest.raises(InputError, match=words) as caught:
        check_family(model.config)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError), attach(model, TopK(2)):
        model(input_ids=ids())


def test_every_family_is_described_from_its_config() -> None:
    for kind, own in EXACT.values():
        structure = describe(model_of(kind, own).config)
        assert (structure["num_experts"], structure["top_k"]) == (16, K)
