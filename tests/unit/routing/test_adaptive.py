"""What holds for every rule: batches do not matter, nor the order of experts; limits hold; models run under it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from reference.moe_models import ARCHITECTURES, padded_batch, random_model
from reference.router_logits import normal_null, token_context
from switchyard.errors import InputError
from switchyard.routing import (
    BenjaminiHochberg,
    BenjaminiYekutieli,
    BudgetBenjaminiHochberg,
    Conformal,
    HigherCriticism,
    LocalFDR,
    MixedTopK,
    RandomCount,
    Selection,
    TokenContext,
    TopK,
    TopP,
    attach,
)

LAYERS = 3
NULL = [normal_null()] * LAYERS
LOWER = [normal_null(centre=-0.5)] * LAYERS
WHAT_A_MODEL_KNOWS = {"trained_top_k": 2, "normalise": False}
NAMES = ("bh", "by", "bh_budget", "higher_criticism", "conformal", "local_fdr", "top_p")
CONTROLS = ("topk", "mixed_topk", "random_count")


def calibration(num_experts: int) -> list[np.ndarray]:
    """Sorted logits of 200 tokens, another distribution for each expert."""
    generator = np.random.default_rng(0)
    spread = generator.normal(size=(num_experts, 200)) + generator.normal(size=(num_experts, 1)) / 2
    return [np.sort(spread.astype(np.float32), axis=-1)] * LAYERS


def make(name: str, num_experts: int = 8, max_k: int = 6, min_k: int = 0, **more: Any) -> Any:
    """A rule that gives standard normal logits anything from none to `max_k` experts."""
    limits = {"max_k": max_k, "min_k": min_k, **more}
    return {
        "bh": lambda: BenjaminiHochberg(0.6, null=NULL, **limits),
        "by": lambda: BenjaminiYekutieli(0.95, null=NULL, **limits),
        "bh_budget": lambda: BudgetBenjaminiHochberg(0.6, null=NULL, target_k=2, **limits),
        "higher_criticism": lambda: HigherCriticism(gamma=0.8, null=NULL, **limits),
        "conformal": lambda: Conformal(0.6, calibration=calibration(num_experts), **limits),
        "local_fdr": lambda: LocalFDR(0.4, unselected=LOWER, pooled=NULL, **limits),
        "top_p": lambda: TopP(p=0.6, **limits),
        "topk": lambda: TopK(4, **more),
        "mixed_topk": lambda: MixedTopK(2.5, **more),
        "random_count": lambda: RandomCount(((3, 0, 1, 1, 0, 0, 2),) * LAYERS, **more),
    }[name]()


def rows(selection: Selection, these: slice) -> list[torch.Tensor]:
    return [part[these] for part in selection if part is not None]


def part_of(context: TokenContext, these: slice) -> TokenContext:
    return TokenContext(*(column[these] for column in context[:5]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", [*NAMES, *CONTROLS])
def test_no_token_sees_its_batch(name: str, dtype: torch.dtype) -> None:
    rule = make(name, **WHAT_A_MODEL_KNOWS)
    logits = torch.randn(60, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    context = token_context(60)
    whole = rule.select(logits, 1, context)
    for these in (slice(0, 1), slice(7, 8), slice(20, 60)):
        alone = rule.select(logits[these], 1, part_of(context, these))
        assert all(
            torch.equal(*pair) for pair in zip(rows(whole, these), rows(alone, slice(None)), strict=True)
        )


@pytest.mark.parametrize("name", [*NAMES, *CONTROLS])
def test_the_selection_is_well_formed(name: str) -> None:
    rule = make(name, **WHAT_A_MODEL_KNOWS)
    logits = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    selection = rule.select(logits, 2, token_context(300))
    fewest, most = rule.limits
    assert selection.experts.shape == selection.weights.shape == (300, most)
    assert selection.experts.dtype == selection.count.dtype == torch.int64
    assert selection.count.min() >= fewest and selection.count.max() <= most
    assert len(selection.count.unique()) > 1 or fewest == most
    slots = torch.arange(most) < selection.count[:, None]
    assert torch.equal(selection.experts < 8, slots)
    padded = torch.cat([logits.softmax(dim=-1), torch.zeros(300, 1)], dim=-1)
    torch.testing.assert_close(selection.weights, padded.gather(-1, selection.experts))
    ranked = logits.sort(dim=-1, descending=True).indices[:, :most]
    assert torch.equal(selection.experts[slots], ranked[slots])


@pytest.mark.parametrize("name", NAMES)
def test_rejections_are_told_apart_from_counts(name: str) -> None:
    logits = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    selection = make(name, max_k=3, min_k=2, **WHAT_A_MODEL_KNOWS).select(logits, 0)
    assert set(selection.count.tolist()) == {2, 3}
    if name == "top_p":
        assert selection.rejections is None
    else:
        assert torch.equal(selection.rejections.clamp(2, 3), selection.count)
        assert selection.rejections.min() < 2 and selection.rejections.max() > 3


@pytest.mark.parametrize("name", [name for name in NAMES if name != "conformal"] + ["random_count"])
def test_permuting_the_experts_permutes_the_answer(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, order = torch.randn(50, 8, generator=generator), torch.randperm(8, generator=generator)
    rule, context = make(name, **WHAT_A_MODEL_KNOWS), token_context(50)
    plain, permuted = rule.select(logits, 0, context), rule.select(logits[:, order], 0, context)
    back = torch.cat([order, torch.tensor([8])])[permuted.experts]
    assert torch.equal(back, plain.experts)
    torch.testing.assert_close(permuted.weights, plain.weights)


@pytest.mark.parametrize("name", [*NAMES, *CONTROLS])
@pytest.mark.parametrize("weighting", ["sum_to_one", "trained_mass"])
def test_is_weighted_as_asked(name: str, weighting: str) -> None:
    logits = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    rule = make(name, weighting=weighting, **WHAT_A_MODEL_KNOWS)
    selection = rule.select(logits, 0, token_context(50))
    mass = logits.softmax(dim=-1).topk(2).values.sum(dim=-1) if weighting == "trained_mass" else 1.0
    torch.testing.assert_close(selection.weights.sum(dim=-1), mass * (selection.count > 0).float())


@pytest.mark.parametrize("name", [*NAMES, *CONTROLS])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_a_model_runs_under_it(architecture: str, name: str) -> None:
    model = random_model(architecture)
    rule = make(name, model.config.num_local_experts if architecture == "mixtral" else 16)
    seen: dict[str, list] = {"left": [], "right": []}
    outputs = {}
    for side, calls in seen.items():
        batch = padded_batch(side)
        with attach(model, rule, observer=lambda *what, calls=calls: calls.append(what)) as attachment:
            attachment.label(sample=[5, 6, 7], sequence=[0, 0, 0])
            outputs[side] = model(**batch).logits[batch["attention_mask"].bool()]
        for layer, logits, selection, context in calls:
            again = attachment.rule.select(logits, layer, context)
            assert torch.equal(again.experts, selection.experts)
        assert attachment.rule.trained_top_k == model.config.num_experts_per_tok
    assert outputs["left"].isfinite().all()
    assert len(seen["left"]) == LAYERS
    torch.testing.assert_close(outputs["left"], outputs["right"], rtol=1e-4, atol=1e-4)
    counts = torch.cat([selection.count for _, _, selection, _ in seen["left"]])
    assert name == "topk" or len(counts.unique()) > 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_k": 0, "min_k": 0}, "max_k 0 must satisfy"),
        ({"max_k": 4, "min_k": 5}, "min_k 5"),
        ({"max_k": 4, "min_k": -1}, "min_k -1"),
        ({"weighting": "loud"}, "loud"),
    ],
)
def test_refuses(name: str, settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make(name, **settings)


@pytest.mark.parametrize("name", NAMES)
def test_refuses_more_than_there_are(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: max_k is 6 but layer 0 has 4 experts"):
        make(name, **WHAT_A_MODEL_KNOWS).select(torch.zeros(1, 4), 0)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "top_p"])
def test_refuses_a_layer_too_many(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: no .* for layer 3, .* has 3"):
        make(name, **WHAT_A_MODEL_KNOWS).select(torch.zeros(1, 8), 3)


@pytest.mark.parametrize("name", ["bh", "by", "bh_budget", "conformal", "local_fdr"])
@pytest.mark.parametrize("alpha", [0.0, 1.0, 30, float("nan")])
def test_refuses_a_level(name: str, alpha: float) -> None:
    rule = make(name)
    with pytest.raises(InputError, match=f"{name}: alpha is {alpha}"):
        type(rule)(**{**vars_of(rule), "alpha": alpha})


def vars_of(rule: Any) -> dict[str, Any]:
    return {key: value for key, value in vars(rule).items() if not key.startswith("_")}


@pytest.mark.parametrize("name", [*NAMES, *CONTROLS])
def test_an_unknown_setting_is_a_type_error(name: str) -> None:
    """`switchyard.study.experiment.build_rule` makes an InputError of it, with the configuration's name."""
    with pytest.raises(TypeError, match="loudness"):
        make(name, loudness=1)
