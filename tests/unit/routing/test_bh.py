"""BH routing against its definition, against SciPy, and on the real OLMoE's distributions."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from reference import bh as reference
from switchyard.errors import InputError
from switchyard.routing.bh import BenjaminiHochberg
from switchyard.routing.nulls import NullDistribution, p_values, read_nulls

REAL_NULLS = (
    Path(__file__).resolve().parents[4] / "shared/data/olmoe_1b_7b_router_logit_cdf_layers_0_7.parquet"
)
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
levels = st.floats(0.0, 1.0, exclude_min=True, exclude_max=True)


@st.composite
def null_distributions(draw: st.DrawFn) -> NullDistribution:
    """Grids of 1 to 12 logits; flat stretches and values on round fractions, where BH's boundaries lie, included."""
    size = draw(st.integers(1, 12))
    logit = draw(st.lists(st.floats(-20, 20, width=32), min_size=size, max_size=size, unique=True))
    fractions = st.one_of(st.integers(0, 64).map(lambda n: n / 64), st.floats(0, 1))
    cdf = draw(st.lists(fractions, min_size=size, max_size=size))
    return NullDistribution(sorted(logit), sorted(cdf))


@st.composite
def cases(draw: st.DrawFn) -> tuple[NullDistribution, torch.Tensor, int, int]:
    """A null, logits [tokens, num_experts] (random, tied, constant, extreme, on the grid), min_k and max_k."""
    null = draw(null_distributions())
    num_experts = draw(st.sampled_from((1, 2, 3, 8, 64)))
    extreme = st.sampled_from((-1e30, 1e30, 0.0, -0.0))
    on_grid = st.sampled_from(null.logit.tolist())
    value = st.one_of(st.floats(-25, 25, width=32), on_grid, extreme, st.integers(-2, 2).map(float))
    row = st.one_of(
        st.lists(value, min_size=num_experts, max_size=num_experts),
        value.map(lambda x: [x] * num_experts),
    )
    dtype = draw(st.sampled_from(DTYPES))
    logits = torch.tensor(draw(st.lists(row, min_size=1, max_size=4)), dtype=torch.float64).to(dtype)
    logits = logits.clamp(torch.finfo(dtype).min, torch.finfo(dtype).max)
    max_k = draw(st.integers(1, num_experts))
    return null, logits, draw(st.integers(0, max_k)), max_k


def assert_equals_reference(rule: BenjaminiHochberg, logits: torch.Tensor, layer: int = 0) -> None:
    """Experts, counts, rejections of every token are those of the loops."""
    num_experts = logits.shape[-1]
    grid, values = rule.null[layer].logit.tolist(), rule.null[layer].cdf.tolist()
    selection = rule.select(logits, layer)
    for token, row in enumerate(logits.double().tolist()):
        experts, n = reference.choose(
            row, grid=grid, values=values, alpha=rule.alpha, min_k=rule.min_k, max_k=rule.max_k
        )
        unused = [num_experts] * (rule.max_k - len(experts))
        assert selection.experts[token].tolist() == experts + unused
        assert selection.count[token].item() == len(experts)
        assert selection.rejections[token].item() == n
    used = selection.experts < num_experts
    assert selection.weights.isfinite().all()
    assert (selection.weights[~used] == 0).all()


@given(case=cases(), alpha=levels)
def test_equals_the_naive_reference(case: tuple, alpha: float) -> None:
    null, logits, min_k, max_k = case
    assert_equals_reference(BenjaminiHochberg(alpha, max_k, min_k, null=[null]), logits)


@given(case=cases(), alpha=levels)
def test_equals_scipy_away_from_the_boundaries(case: tuple, alpha: float) -> None:
    null, logits, _, _ = case
    num_experts = logits.shape[-1]
    p = p_values(logits.double().numpy(), null)
    margins = np.abs(np.sort(p, axis=-1) - alpha * np.arange(1, num_experts + 1) / num_experts)
    assume((margins > 1e-12).all())
    expected = (false_discovery_control(p, axis=-1) <= alpha).sum(axis=-1)
    rule = BenjaminiHochberg(alpha, num_experts, 0, null=[null])
    selection = rule.select(logits, 0)
    assert selection.rejections.tolist() == expected.tolist()
    assert selection.count.tolist() == expected.tolist()


@given(null=null_distributions(), alpha=levels, num_experts=st.sampled_from((1, 3, 64)))
def test_critical_logits_are_the_first_numbers_rejected(
    null: NullDistribution, alpha: float, num_experts: int
) -> None:
    for dtype in (np.float32, np.float64):
        critical = null.critical_logits(alpha, num_experts, dtype=dtype)
        level = alpha * np.arange(1, num_experts + 1) / num_experts
        assert critical.dtype == dtype
        assert (np.diff(critical) <= 0).all()
        assert (1.0 - null.cdf_at(critical) <= level).all()
        below = np.nextafter(critical, dtype(-np.inf))
        assert not (1.0 - null.cdf_at(below) <= level)[np.isfinite(critical)].any()


@given(null=null_distributions(), x=st.lists(st.floats(-25, 25), min_size=1, max_size=20))
def test_the_cdf_is_the_references_and_monotone(null: NullDistribution, x: list[float]) -> None:
    x = sorted(x + null.logit.tolist())
    expected = [reference.cdf(value, null.logit.tolist(), null.cdf.tolist()) for value in x]
    np.testing.assert_allclose(null.cdf_at(np.array(x)), expected, rtol=0, atol=1e-15)
    assert (np.diff(null.cdf_at(np.array(x))) >= 0).all()


@given(data=st.data(), alpha=levels)
def test_on_the_real_olmoe_distributions(data: st.DataObject, alpha: float) -> None:
    if not REAL_NULLS.exists():
        pytest.skip(f"{REAL_NULLS.name} is not beside the checkout")
    name = data.draw(st.sampled_from(("pooled", "trimmed_2", "trimmed_4", "trimmed_8")))
    nulls = real_nulls(name)
    layer = data.draw(st.integers(0, len(nulls) - 1))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    cdf, logit = real_nulls("pooled")[layer].cdf, real_nulls("pooled")[layer].logit
    logits = np.interp(generator.random((4, 64)), cdf, logit)
    max_k = data.draw(st.integers(1, 64))
    rule = BenjaminiHochberg(alpha, max_k, data.draw(st.integers(0, max_k)), null=nulls)
    dtype = data.draw(st.sampled_from(DTYPES))
    assert_equals_reference(rule, torch.from_numpy(logits).to(dtype), layer)


_real: dict[str, list[NullDistribution]] = {}


def real_nulls(name: str) -> list[NullDistribution]:
    """One null of layers 0 to 7 of OLMoE-1B-7B, read once."""
    if name not in _real:
        _real[name] = read_nulls(REAL_NULLS, name)
    return _real[name]


UNIFORM = NullDistribution([0.0, 1.0], [0.0, 1.0])


def test_boundary_counts_as_rejected() -> None:
    rule = BenjaminiHochberg(0.5, 4, 0, null=[UNIFORM])
    on_boundary = torch.tensor([[0.875, 0.0, 0.0, 0.0]], dtype=torch.float64)
    assert rule.select(on_boundary, 0).rejections.tolist() == [1]
    just_below = torch.nextafter(on_boundary, torch.tensor(-1.0, dtype=torch.float64))
    assert rule.select(just_below, 0).rejections.tolist() == [0]


def test_k_runs_to_the_number_of_experts_not_to_max_k() -> None:
    logits = torch.full((1, 8), 0.6)  # p = 0.4 everywhere: only k = 8 has 0.4 <= 0.5 k / 8
    selection = BenjaminiHochberg(0.5, 2, 0, null=[UNIFORM]).select(logits, 0)
    assert selection.rejections.tolist() == [8]
    assert selection.experts.tolist() == [[0, 1]]


def test_nothing_rejected_is_not_the_same_as_the_floor() -> None:
    logits = torch.zeros(1, 4)
    for min_k in (0, 1):
        selection = BenjaminiHochberg(0.3, 4, min_k, null=[UNIFORM]).select(logits, 0)
        assert (selection.rejections.item(), selection.count.item()) == (0, min_k)
        assert selection.weights.isfinite().all()


def test_permuting_the_experts_permutes_the_answer() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, order = torch.rand(50, 16, generator=generator), torch.randperm(16, generator=generator)
    rule = BenjaminiHochberg(0.4, 8, null=[UNIFORM])
    plain, permuted = rule.select(logits, 0), rule.select(logits[:, order], 0)
    back = torch.cat([order, torch.tensor([16])])[permuted.experts]
    assert torch.equal(back, plain.experts)
    torch.testing.assert_close(permuted.weights, plain.weights)


def test_a_higher_level_never_chooses_fewer() -> None:
    logits = torch.rand(100, 16, generator=torch.Generator().manual_seed(0))
    counts = [
        BenjaminiHochberg(a / 100, 16, 0, null=[UNIFORM]).select(logits, 0).count for a in range(1, 100)
    ]
    assert all((more >= fewer).all() for fewer, more in pairwise(counts))


def test_rejects_at_the_level_under_the_null() -> None:
    logits = torch.rand(20_000, 64, generator=torch.Generator().manual_seed(0))
    selection = BenjaminiHochberg(0.3, 64, 0, null=[UNIFORM]).select(logits, 0)
    share = (selection.rejections > 0).double().mean().item()
    assert abs(share - 0.3) < 4 * (0.3 * 0.7 / 20_000) ** 0.5  # Simes (1986): exactly alpha


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"alpha": 30.0, "max_k": 8}, "alpha is 30"),
        ({"alpha": 0.0, "max_k": 8}, "alpha is 0"),
        ({"alpha": float("nan"), "max_k": 8}, "alpha is nan"),
        ({"alpha": 0.3, "max_k": 0, "min_k": 0}, "max_k"),
        ({"alpha": 0.3, "max_k": 4, "min_k": 5}, "min_k"),
        ({"alpha": 0.3, "max_k": 4, "min_k": -1}, "min_k"),
        ({"alpha": 0.3, "max_k": 4, "weighting": "loud"}, "loud"),
    ],
)
def test_refuses(settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        BenjaminiHochberg(**settings, null=[UNIFORM])


def test_refuses_what_only_the_logits_tell() -> None:
    with pytest.raises(InputError, match="lower max_k"):
        BenjaminiHochberg(0.3, 8, null=[UNIFORM]).select(torch.zeros(1, 4), 0)
    with pytest.raises(InputError, match="no null for layer 1"):
        BenjaminiHochberg(0.3, 2, null=[UNIFORM]).select(torch.zeros(1, 4), 1)


def test_a_null_is_required() -> None:
    with pytest.raises(InputError, match="one per layer"):
        BenjaminiHochberg(0.3, 8, null="pooled")
    with pytest.raises(InputError, match="null is missing"):
        BenjaminiHochberg(0.3, 8)
