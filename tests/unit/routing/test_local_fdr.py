"""Local fdr routing against its definition by loops, against exact densities, and at its limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gaussian_kde, norm

from reference import routing_rules as reference
from reference.router_logits import levels, normal_null, null_distributions, router_logits
from switchyard.artifacts.files import write_table
from switchyard.errors import InputError
from switchyard.routing import LocalFDR, NullDistribution, fit_nulls, nulls_table
from switchyard.routing.local_fdr import BINS, critical_logit, local_fdr


def grid(null: NullDistribution) -> tuple[list[float], list[float]]:
    return null.logit.tolist(), null.cdf.tolist()


@given(
    data=st.data(),
    unselected=null_distributions(step=0.5),
    pooled=null_distributions(step=0.5),
    alpha=levels,
    trained=st.integers(0, 8),
)
def test_equals_the_naive_reference(
    data: st.DataObject, unselected: NullDistribution, pooled: NullDistribution, alpha: float, trained: int
) -> None:
    logits = data.draw(router_logits(experts=(8,), on_grid=tuple(pooled.logit.tolist())))
    max_k = data.draw(st.integers(1, 8))
    min_k = data.draw(st.integers(0, max_k))
    rule = LocalFDR(
        alpha, max_k, min_k, unselected=[unselected], pooled=[pooled], trained_top_k=trained, normalise=False
    )
    middle, rates = local_fdr(unselected, pooled, (8 - trained) / 8)
    assert (np.diff(middle) >= 0).all() and (np.diff(rates) <= 0).all() and (rates <= 1).all()
    selection = rule.select(logits, 0)
    critical = critical_logit(middle, rates, alpha)
    table = reference.local_fdr_table(grid(unselected), grid(pooled), (8 - trained) / 8, BINS)
    for token, row in enumerate(logits.double().tolist()):
        if any(abs(x - critical) <= 1e-9 * max(1.0, abs(x)) for x in row):
            continue  # the two interpolate with other roundings
        n = sum(reference.rate_at(x, table) <= alpha for x in row)
        experts = reference.choose(row, n, min_k, max_k)
        assert selection.rejections[token].item() == n
        assert selection.experts[token].tolist() == experts + [8] * (max_k - len(experts))


@given(alpha=levels, x=st.lists(st.floats(-30, 30), min_size=1, max_size=10))
def test_the_critical_logit_is_the_rate_inverted(alpha: float, x: list[float]) -> None:
    middle, rates = local_fdr(normal_null(centre=-0.5), normal_null(), 0.8)
    critical = critical_logit(middle, rates, alpha)
    for value in x:
        if abs(value - critical) > 1e-9:
            assert (value >= critical) == (np.interp(value, middle, rates) <= alpha)


def test_is_the_quotient_of_exact_densities() -> None:
    """Pooled: 7/8 N(0, 1) and 1/8 N(3, 1/2). The rate is known, and crosses each level at a known logit."""
    x = np.linspace(-6, 6, 2000)
    pooled = NullDistribution(x, 7 / 8 * norm.cdf(x) + 1 / 8 * norm.cdf(x, 3, 0.5))
    middle, rates = local_fdr(NullDistribution(x, norm.cdf(x)), pooled, 7 / 8)
    exact = 7 / 8 * norm.pdf(x) / (7 / 8 * norm.pdf(x) + 1 / 8 * norm.pdf(x, 3, 0.5))
    for alpha in (0.1, 0.2, 0.5, 0.8, 0.9):
        expected = x[np.flatnonzero(exact <= alpha)[0]]
        assert critical_logit(middle, rates, alpha) == pytest.approx(expected, abs=0.02)


def test_agrees_with_the_kernel_densities_of_router_logits() -> None:
    generator = np.random.default_rng(0)
    logits = generator.gamma(2.0, size=(400, 16)) + generator.normal(size=(400, 1))
    nulls = fit_nulls(logits, 2)
    middle, rates = local_fdr(nulls["unselected"], nulls["pooled"], 14 / 16)
    null_density = gaussian_kde(np.sort(logits, axis=-1)[:, :-2].ravel())
    density = gaussian_kde(logits.ravel())
    for alpha in (0.1, 0.3, 0.5, 0.7):
        critical = critical_logit(middle, rates, alpha)
        assert 14 / 16 * null_density(critical)[0] / density(critical)[0] == pytest.approx(alpha, abs=0.02)


def test_does_not_stumble_over_the_far_left() -> None:
    """Kernel tails of two bandwidths make the quotient of densities there anything; of masses, next to 1."""
    generator = np.random.default_rng(0)
    nulls = fit_nulls(generator.normal(size=(2000, 16)), 2)
    rates = local_fdr(nulls["unselected"], nulls["pooled"], 14 / 16)[1]
    assert (rates[: BINS // 2] > 0.97).all()
    assert rates[-1] < 0.01


def test_the_same_density_leaves_the_null_share() -> None:
    for share in (0.2, 1.0):
        rates = local_fdr(normal_null(), normal_null(), share)[1]
        np.testing.assert_allclose(rates, share, rtol=1e-12)
    everything = {
        "unselected": [normal_null()],
        "pooled": [normal_null()],
        "trained_top_k": 6,
        "normalise": False,
    }
    logits = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    assert LocalFDR(0.26, 8, 0, **everything).select(logits, 0).rejections.tolist() == [8] * 5
    assert LocalFDR(0.24, 8, 0, **everything).select(logits, 0).rejections.tolist() == [0] * 5


def test_a_larger_level_never_chooses_fewer() -> None:
    logits = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    nulls = {"unselected": [normal_null(centre=-0.5)], "pooled": [normal_null()]}
    counts = torch.stack(
        [
            LocalFDR(n / 20, 8, 0, **nulls, trained_top_k=2, normalise=False).select(logits, 0).count
            for n in range(1, 20)
        ]
    )
    assert (counts.diff(dim=0) >= 0).all() and counts[0].sum() < counts[-1].sum()


def test_needs_to_know_the_trained_top_k() -> None:
    rule = LocalFDR(0.3, 4, unselected=[normal_null()], pooled=[normal_null()])
    with pytest.raises(InputError, match="local_fdr: needs the model's trained top-k"):
        rule.select(torch.zeros(1, 8), 0)


@pytest.mark.parametrize("missing", ["unselected", "pooled"])
def test_refuses_without_a_density(missing: str) -> None:
    nulls = {"unselected": [normal_null()], "pooled": [normal_null()]}
    with pytest.raises(InputError, match=f"local_fdr: {missing} is missing"):
        LocalFDR(0.3, 4, **{**nulls, missing: None})
    with pytest.raises(InputError, match=f"local_fdr: {missing} must be a sequence"):
        LocalFDR(0.3, 4, **{**nulls, missing: "pooled"})


def test_is_made_from_a_study(tmp_path: Path) -> None:
    path = tmp_path / "nulls.parquet"
    write_table(path, nulls_table([{"pooled": normal_null(), "unselected": normal_null(centre=-1.0)}] * 2))
    rule = LocalFDR.from_study({"alpha": 0.3, "max_k": 4, "weighting": "model"}, {"nulls": path})
    assert (rule.alpha, rule.limits) == (0.3, (1, 4))
    assert [null.logit[0] for null in rule.unselected] == [-6.0] * 2
    assert [null.logit[0] for null in rule.pooled] == [-5.0] * 2
    assert not hasattr(rule, "p_values")
    write_table(path, nulls_table([{"pooled": normal_null()}]))
    with pytest.raises(InputError, match="'unselected' is not in"):
        LocalFDR.from_study({"alpha": 0.3, "max_k": 4}, {"nulls": path})
