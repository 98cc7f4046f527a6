"""A router that is not softmax, then top-k, is refused: from its class alone, and at its first answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from reference.moe_models import ARCHITECTURES, padded_batch, random_model
from switchyard.errors import InputError
from switchyard.models.blocks import find_moe_blocks
from switchyard.models.routers import check_family, check_fields, faults
from switchyard.routing import TopK, attach

SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 64,
    "initializer_range": 0.4,
    "num_experts_per_tok": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
DEEPSEEK = {
    "n_routed_experts": 16,
    "n_shared_experts": 1,
    "first_k_dense_replace": 0,
    "n_group": 1,
    "topk_group": 1,
}
LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
EXACT: dict[str, tuple[str, dict[str, Any]]] = {
    "olmoe": ("olmoe", {"num_experts": 16}),
    "olmoe, normalised": ("olmoe", {"num_experts": 16, "norm_topk_prob": True}),
    "flex_olmo": ("flex_olmo", {"num_experts": 16}),
    "mixtral": ("mixtral", {"num_local_experts": 16}),
    "minimax": ("minimax", {"num_local_experts": 16, "layer_types": ["full_attention"] * 2, "head_dim": 8}),
    "qwen2_moe": ("qwen2_moe", {"num_experts": 16}),
    "qwen2_moe, normalised": ("qwen2_moe", {"num_experts": 16, "norm_topk_prob": True}),
    "qwen3_moe": ("qwen3_moe", {"num_experts": 16, "head_dim": 8}),
}
OTHER: dict[str, tuple[str, dict[str, Any]]] = {
    "sigmoid": ("minimax_m2", {"num_local_experts": 16, "head_dim": 8}),
    "sigmoid and groups": ("glm4_moe", {**DEEPSEEK, "head_dim": 8}),
    "dots1": ("dots1", {**DEEPSEEK, "head_dim": 8}),
    "deepseek_v3": ("deepseek_v3", {**DEEPSEEK, **LATENT}),
    "scale": ("deepseek_v2", {**DEEPSEEK, **LATENT, "topk_method": "greedy", "routed_scaling_factor": 16.0}),
    "groups": (
        "deepseek_v2",
        {**DEEPSEEK, **LATENT, "topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 1,
         "routed_scaling_factor": 1.0},
    ),
    "lfm2_moe": (
        "lfm2_moe",
        {"num_experts": 16, "num_dense_layers": 0, "layer_types": ["full_attention"] * 2},
    ),
}  # fmt: skip


def config_of(family: tuple[str, dict[str, Any]]) -> PreTrainedConfig:
    kind, own = family
    known = AutoConfig.for_model(kind)
    fields = {
        name: value for name, value in {**SIZES, **own}.items() if hasattr(known, name) or "token_id" in name
    }
    return type(known)(**fields)


def model_of(config: PreTrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def ids() -> Tensor:
    return torch.randint(3, 96, (2, 16), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", EXACT)
@torch.no_grad()
def test_trained_top_k_is_the_model_itself(family: str) -> None:
    config = config_of(EXACT[family])
    assert check_family(config)["top_k"] == 4
    model = model_of(config)
    plain = model(input_ids=ids()).logits
    with attach(model, TopK(4)):
        routed = model(input_ids=ids()).logits
    assert torch.equal(plain, routed)


@pytest.mark.parametrize("family", OTHER)
@torch.no_grad()
def test_another_router_is_refused(family: str) -> None:
    config = config_of(OTHER[family])
    with pytest.raises(InputError, match=r"router of MoE block 0 .*softmax"):
        check_family(config)
    model = model_of(config)
    with pytest.raises(InputError, match=r"router of MoE block 0 .*softmax"), attach(model, TopK(4)):
        model(input_ids=ids())
    with pytest.raises(InputError, match=r"router of MoE block 0 .*softmax"), attach(model, None):
        model(input_ids=ids())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@torch.no_grad()
def test_a_correction_bias_is_refused_at_the_first_forward(architecture: str, dtype: torch.dtype) -> None:
    """As ERNIE-4.5 does: the class is softmax, then top-k, as long as its bias is zero."""
    model, batch = random_model(architecture, dtype), padded_batch("left")
    with attach(model, TopK(2)):
        model(**batch)
    gate = find_moe_blocks(model)[1].router
    plain = type(gate).forward
    bias = torch.linspace(-3, 3, gate.weight.shape[0], dtype=dtype)

    def biased(hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, weights, _ = plain(gate, hidden)
        scores = logits.float().softmax(dim=-1)
        experts = (scores + bias).topk(weights.shape[-1]).indices
        chosen = scores.gather(-1, experts)
        if architecture == "mixtral":
            chosen = chosen / chosen.sum(dim=-1, keepdim=True)
        return logits, chosen.to(weights.dtype), experts

    other = random_model(architecture, dtype)
    gate = find_moe_blocks(other)[1].router
    gate.forward = biased
    with pytest.raises(InputError, match="MoE block 1 does not choose the experts"), attach(other, TopK(2)):
        other(**batch)


@torch.no_grad()
def test_a_router_that_is_passed_by_is_refused() -> None:
    model = random_model("olmoe")
    block = model.get_submodule(find_moe_blocks(model)[2].name)
    block.forward = lambda hidden: hidden
    with (
        pytest.raises(InputError, match=r"router of model.layers.2.mlp did not answer"),
        attach(model, TopK(4)),
    ):
        model(**padded_batch("right"))
    with attach(random_model("olmoe"), TopK(4)) as attachment:
        attachment.label(sample=[0], sequence=[0])


def test_ties_may_be_chosen_either_way_and_padding_may_be_nan() -> None:
    logits = torch.tensor([[1.0, 1.0, 0.0], [2.0, 0.0, 1.0], [float("nan")] * 3])
    scores = logits.softmax(dim=-1)
    for tied in (0, 1):
        experts = torch.tensor([[tied], [0], [2]])
        assert faults(logits, scores.gather(-1, experts), experts, normalise=False).tolist() == [False, False]
    experts = torch.tensor([[2], [0], [2]])
    assert faults(logits, scores.gather(-1, experts), experts, normalise=False).tolist() == [True, False]
    experts = torch.tensor([[0], [0], [2]])
    assert faults(logits, logits.sigmoid().gather(-1, experts), experts, normalise=False).tolist() == [
        False,
        True,
    ]


def test_before_a_download_the_class_of_a_model_type_is_tried() -> None:
    check_fields({"model_type": "olmoe"})
    with pytest.raises(InputError, match="'deepseek_v3'.*softmax"):
        check_fields({"model_type": "deepseek_v3"})
    with pytest.raises(InputError, match="'made_up' is unknown to the installed transformers"):
        check_fields({"model_type": "made_up"})
