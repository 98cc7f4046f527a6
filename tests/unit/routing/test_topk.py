"""Static routing and the three weightings."""

from __future__ import annotations

import pytest
import torch

from switchyard.errors import InputError
from switchyard.routing.bh import BenjaminiHochberg
from switchyard.routing.nulls import NullDistribution
from switchyard.routing.topk import TopK

LOGITS = torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
FLAT = torch.zeros(3, 16)


def rules(**settings: object) -> list:
    """A static and an adaptive rule with the same weighting."""
    null = [NullDistribution([-3.0, 3.0], [0.0, 1.0])]
    return [TopK(4, **settings), BenjaminiHochberg(0.5, 6, 0, null=null, **settings)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("logits", [LOGITS, FLAT, LOGITS.round()], ids=["random", "equal", "tied"])
def test_is_the_models_own_call(logits: torch.Tensor, dtype: torch.dtype) -> None:
    logits = logits.to(dtype)
    weights, experts = torch.topk(torch.softmax(logits, dim=-1, dtype=torch.float32), 4, dim=-1)
    selection = TopK(4).select(logits, 0)
    assert torch.equal(selection.experts, experts)
    assert torch.equal(selection.weights, weights)
    assert selection.count.tolist() == [4] * len(logits)
    assert selection.rejections is None


def test_all_experts() -> None:
    selection = TopK(16).select(LOGITS, 0)
    torch.testing.assert_close(selection.weights.sum(dim=-1), torch.ones(50))


@pytest.mark.parametrize("rule", rules(weighting="model", normalise=False))
def test_model_weights_are_probabilities(rule: TopK) -> None:
    selection = rule.select(LOGITS, 0)
    padded = torch.cat([LOGITS.softmax(dim=-1), torch.zeros(50, 1)], dim=-1)
    torch.testing.assert_close(selection.weights, padded.gather(-1, selection.experts))


@pytest.mark.parametrize("settings", [{"weighting": "model", "normalise": True}, {"weighting": "sum_to_one"}])
def test_normalised_weights_sum_to_one_or_are_empty(settings: dict) -> None:
    for rule in rules(**settings):
        selection = rule.select(LOGITS, 0)
        expected = (selection.count > 0).float()
        torch.testing.assert_close(selection.weights.sum(dim=-1), expected)
    assert 0.0 in expected and 1.0 in expected


def test_trained_mass_is_that_of_the_tokens_own_top_k() -> None:
    mass = LOGITS.softmax(dim=-1).topk(3).values.sum(dim=-1)
    for rule in rules(weighting="trained_mass", trained_top_k=3, normalise=False):
        selection = rule.select(LOGITS, 0)
        torch.testing.assert_close(selection.weights.sum(dim=-1), mass * (selection.count > 0))
    for rule in rules(weighting="trained_mass", trained_top_k=3, normalise=True):
        selection = rule.select(LOGITS, 0)
        torch.testing.assert_close(selection.weights.sum(dim=-1), (selection.count > 0).float())


def test_trained_mass_of_the_trained_k_changes_nothing() -> None:
    settings = {"trained_top_k": 4, "normalise": False}
    plain, rescaled = (
        TopK(4, weighting=name, **settings).select(LOGITS, 0) for name in ("model", "trained_mass")
    )
    torch.testing.assert_close(plain.weights, rescaled.weights)


def test_weights_survive_extreme_logits() -> None:
    extreme = torch.tensor([[1e30, -1e30, 0.0, 0.0] * 4])
    for weighting in ("model", "sum_to_one", "trained_mass"):
        for rule in rules(weighting=weighting, trained_top_k=4, normalise=False):
            assert rule.select(extreme, 0).weights.isfinite().all()


def test_refuses() -> None:
    with pytest.raises(InputError, match="at least 1"):
        TopK(0)
    with pytest.raises(InputError, match="k is 17 but layer 2 has 16 experts"):
        TopK(17).select(LOGITS, 2)
    with pytest.raises(InputError, match="use one of model, sum_to_one, trained_mass"):
        TopK(4, weighting="loud")
    with pytest.raises(InputError, match="trained top-k"):
        TopK(4, weighting="trained_mass").select(LOGITS, 0)
