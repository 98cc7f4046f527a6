"""A router that is not softmax, then top-k, is refused: from its class alone, and at its first answer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reference.families import DEEPSEEK, LATENT, ids, model_of
from reference.moe_models import ARCHITECTURES, padded_batch, random_model
from switchyard.errors import InputError
from switchyard.models.blocks import describe, find_moe_blocks
from switchyard.models.families import Router
from switchyard.models.routers import check_family, check_fields, faults
from switchyard.routing import TopK, attach

UNLISTED = {
    "sigmoid": ("minimax_m2", {"num_local_experts": 16, "head_dim": 8}),
    "sigmoid and groups": ("glm4_moe", {**DEEPSEEK, "head_dim": 8}),
    "scale": ("deepseek_v2", {**DEEPSEEK, **LATENT, "topk_method": "greedy"}),
    "groups": (
        "deepseek_v2",
        {**DEEPSEEK, **LATENT, "topk_method": "group_limited_greedy", "routed_scaling_factor": 1.0},
    ),
    "correction bias": ("ernie4_5_moe", {"moe_num_experts": 16, "moe_k": 4, "moe_layer_start_index": 0}),
}


@pytest.mark.parametrize("router", UNLISTED)
@torch.no_grad()
def test_a_router_that_is_not_what_its_type_is_taken_for_is_refused(
    router: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Types of other arithmetic that nobody has described are taken for softmax, then top-k."""
    model = model_of(*UNLISTED[router])
    check_family(model.config)
    monkeypatch.setattr("switchyard.models.families.FAMILIES", {})
    monkeypatch.setattr("switchyard.models.routers.FAMILIES", {})
    words = (
        r"router of MoE block 0 (chooses other|weighs its experts otherwise|wants more than hidden states)"
    )
    with pytest.raises(InputError, match=words):
        check_family(model.config)
    for rule in (TopK(4), None):
        with pytest.raises(InputError, match=words), attach(model, rule):
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
    with pytest.raises(InputError, match="MoE block 1 chooses other experts"), attach(other, TopK(2)):
        other(**batch)


@torch.no_grad()
def test_a_router_that_is_passed_by_is_refused() -> None:
    model = random_model("olmoe")
    block = model.get_submodule(find_moe_blocks(model)[2].name)
    block.forward = lambda hidden: hidden
    with (
        pytest.raises(InputError, match=r"router of model.layers.2.mlp did not run"),
        attach(model, TopK(4)),
    ):
        model(**padded_batch("right"))
    with attach(random_model("olmoe"), TopK(4)) as attachment:
        attachment.label(sample=[0], sequence=[0])


def test_ties_may_be_chosen_either_way_and_padding_may_be_nan() -> None:
    model = random_model("olmoe")
    router = Router(find_moe_blocks(model)[0], describe(model.config))
    logits = torch.tensor([[1.0, 1.0, 0.0], [2.0, 0.0, 1.0], [float("nan")] * 3])
    scores = logits.softmax(dim=-1)
    for tied in (0, 1):
        experts = torch.tensor([[tied], [0], [2]])
        assert faults(router, logits, scores.gather(-1, experts), experts).tolist() == [False, False]
    experts = torch.tensor([[2], [0], [2]])
    assert faults(router, logits, scores.gather(-1, experts), experts).tolist() == [True, False]
    experts = torch.tensor([[0], [0], [2]])
    assert faults(router, logits, logits.sigmoid().gather(-1, experts), experts).tolist() == [False, True]


def test_before_a_download_the_class_of_a_model_type_is_tried() -> None:
    for kind in ("olmoe", "deepseek_v3", "minimax_m2"):
        check_fields({"model_type": kind})
    with pytest.raises(InputError, match="'phimoe'|router of MoE block 0"):
        check_fields({"model_type": "phimoe"})
    with pytest.raises(InputError, match="'made_up' is unknown to the installed transformers"):
        check_fields({"model_type": "made_up"})
