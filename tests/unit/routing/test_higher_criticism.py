"""Higher Criticism against its definition, and its CDF on the device against the null's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference import routing_rules as reference
from reference.bh import cdf
from reference.router_logits import normal_null, null_distributions, router_logits
from switchyard.artifacts.files import write_table
from switchyard.errors import InputError
from switchyard.routing import HigherCriticism, NullDistribution, nulls_table
from switchyard.routing.higher_criticism import cdf_at, ranks_searched, segments

shares = st.one_of(st.floats(0.0, 1.0, exclude_min=True), st.integers(1, 100).map(lambda n: n / 100))


@given(data=st.data(), null=null_distributions(), gamma=shares)
def test_equals_the_naive_reference(data: st.DataObject, null: NullDistribution, gamma: float) -> None:
    logits = data.draw(router_logits(on_grid=tuple(null.logit.tolist())))
    max_k = data.draw(st.integers(1, logits.shape[-1]))
    min_k = data.draw(st.integers(0, max_k))
    selection = HigherCriticism(gamma=gamma, max_k=max_k, min_k=min_k, null=[null]).select(logits, 0)
    for token, row in enumerate(logits.double().tolist()):
        p = [1.0 - cdf(x, null.logit.tolist(), null.cdf.tolist()) for x in row]
        n = reference.higher_criticism(p, gamma)
        experts = reference.choose(row, n, min_k, max_k)
        assert selection.rejections[token].item() == n
        assert selection.experts[token].tolist() == experts + [len(row)] * (max_k - len(experts))


@given(null=null_distributions(), x=st.lists(st.floats(-25, 25), min_size=1, max_size=20))
def test_the_cdf_is_the_nulls_own(null: NullDistribution, x: list[float]) -> None:
    points = np.array(x + null.logit.tolist() + [-1e300, 1e300])
    own = cdf_at(torch.from_numpy(points), torch.from_numpy(segments(null)))
    np.testing.assert_allclose(own.numpy(), null.cdf_at(points), rtol=0, atol=1e-15)
    ordered = cdf_at(torch.from_numpy(np.sort(points)), torch.from_numpy(segments(null)))
    assert (ordered.diff() >= 0).all()


def test_ranks_searched() -> None:
    assert [ranks_searched(0.1, n) for n in (1, 2, 8, 64)] == [0, 1, 1, 6]
    assert [ranks_searched(gamma, 100) for gamma in (0.29, 0.57, 0.07, 1.0)] == [29, 57, 7, 99]
    assert all(ranks_searched(n / 100, 100) == n for n in range(1, 100))


def test_one_expert_is_never_rejected() -> None:
    rule = HigherCriticism(gamma=1.0, max_k=1, min_k=0, null=[normal_null()])
    assert rule.select(torch.tensor([[-9.0], [9.0]]), 0).rejections.tolist() == [0, 0]


def test_the_worked_example() -> None:
    """Four p-values 0.01, 0.02, 0.9, 0.9: HC is 1.11, 1.92, -0.69 and rank 4 is not searched."""
    null = NullDistribution([0.0, 1.0], [0.0, 1.0])
    logits = torch.tensor([[0.1, 0.99, 0.98, 0.1]], dtype=torch.float64)
    choose = {
        gamma: HigherCriticism(gamma=gamma, max_k=4, null=[null]).select(logits, 0) for gamma in (0.25, 1.0)
    }
    assert choose[1.0].rejections.tolist() == [2]
    assert choose[1.0].experts.tolist() == [[1, 2, 4, 4]]
    assert choose[0.25].rejections.tolist() == [1]


def test_nothing_surprising_is_nothing_chosen() -> None:
    null = NullDistribution([0.0, 1.0], [0.0, 1.0])
    selection = HigherCriticism(gamma=1.0, max_k=4, min_k=0, null=[null]).select(torch.zeros(1, 4), 0)
    assert (selection.rejections.item(), selection.count.item()) == (0, 0)


def test_stops_near_the_number_of_strong_signals() -> None:
    logits = torch.randn(500, 64, generator=torch.Generator().manual_seed(0))
    rule = HigherCriticism(gamma=0.5, max_k=64, min_k=0, null=[normal_null()])
    for signals in (4, 8, 16):
        shifted = logits.clone()
        shifted[:, :signals] += 4.5
        assert abs(rule.select(shifted, 0).rejections.double().median().item() - signals) <= 1


@pytest.mark.parametrize("gamma", [0.0, -0.1, 1.01, 10, float("nan")])
def test_refuses_a_share(gamma: float) -> None:
    with pytest.raises(InputError, match=f"gamma is {gamma}"):
        HigherCriticism(gamma=gamma, max_k=4, null=[normal_null()])


def test_refuses_without_nulls() -> None:
    with pytest.raises(InputError, match="higher_criticism: null is missing"):
        HigherCriticism(gamma=0.1, max_k=4)
    with pytest.raises(InputError, match="higher_criticism: null must be a sequence"):
        HigherCriticism(gamma=0.1, max_k=4, null=[0.5])


def test_is_made_from_a_study(tmp_path: Path) -> None:
    write_table(tmp_path / "nulls.parquet", nulls_table([{"pooled": normal_null()}] * 2))
    settings = {"gamma": 0.1, "max_k": 4, "min_k": 0, "weighting": "model", "null_distribution": "pooled"}
    rule = HigherCriticism.from_study(settings, {"nulls": tmp_path / "nulls.parquet"})
    assert (rule.gamma, rule.limits, len(rule.null)) == (0.1, (0, 4), 2)
    assert rule.p_values(np.zeros((3, 8), np.float32), 1).shape == (3, 8)
