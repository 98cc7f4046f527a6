"""The check of the nulls: right where the null is right, and visibly wrong where it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from switchyard.routing.bh import BenjaminiHochberg
from switchyard.routing.null_check import BINS, histograms, kolmogorov_distance, summary
from switchyard.routing.nulls import NullDistribution, p_values

EXPERTS = 8


def uniform_null(low: float = 0.0, high: float = 1.0) -> NullDistribution:
    return NullDistribution(np.array([low, high]), np.array([0.0, 1.0]))


def logits(tokens: int, seed: int = 0, layers: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.random((tokens, EXPERTS)).astype(np.float32) for _ in range(layers)]


TOP_K = 3
NULLS = {"right": [uniform_null()] * 2, "too wide": [uniform_null(-1.0, 3.0)] * 2}


# --- distance from uniform


@pytest.mark.parametrize("number", [1, 2, 50])
def test_the_distance_is_scipy_s(number: int) -> None:
    values = np.random.default_rng(number).random(number)
    assert kolmogorov_distance(values) == pytest.approx(stats.kstest(values, "uniform").statistic)


def test_the_distance_knows_its_limits() -> None:
    assert kolmogorov_distance(np.zeros(9)) == 1.0
    assert kolmogorov_distance(np.ones(9)) == 1.0
    assert kolmogorov_distance((np.arange(100) + 0.5) / 100) == pytest.approx(0.005)


def test_the_distance_takes_any_shape_and_order() -> None:
    values = np.random.default_rng(0).random((10, 4))
    assert kolmogorov_distance(values) == kolmogorov_distance(np.sort(values.ravel())[::-1])


# --- histograms


def test_every_layer_and_null_has_bins_that_sum_to_one() -> None:
    rows = histograms(logits(200), NULLS).to_pylist()
    assert len(rows) == 2 * 2 * BINS
    for layer in range(2):
        for name in NULLS:
            own = [row for row in rows if row["layer"] == layer and row["null"] == name]
            assert sum(row["share"] for row in own) == pytest.approx(1.0)
            assert own[0]["bin_left"] == 0.0 and own[-1]["bin_right"] == 1.0
            assert all(a["bin_right"] == b["bin_left"] for a, b in zip(own, own[1:]))


def test_shares_are_counted_by_hand() -> None:
    values = logits(300)[:1]
    rows = histograms(values, {"right": [uniform_null()]}).to_pylist()
    for row in rows:
        p = 1.0 - values[0].astype(float)
        top = row["bin_right"] == 1.0
        inside = (p >= row["bin_left"]) & ((p <= 1.0) if top else (p < row["bin_right"]))
        assert row["share"] == pytest.approx(inside.mean(), abs=1e-12)


def test_a_right_null_is_flat_and_a_wrong_one_is_not() -> None:
    rows = histograms(logits(4000), NULLS).to_pylist()
    shares = {name: [row["share"] for row in rows if row["null"] == name] for name in NULLS}
    assert max(shares["right"]) < 1.15 / BINS and min(shares["right"]) > 0.85 / BINS
    assert max(shares["too wide"]) > 3 / BINS and min(shares["too wide"]) == 0.0


# --- rejections


def rejections_by_hand(p: np.ndarray, alpha: float) -> int:
    """Largest k with p_(k) <= alpha k / E, by a loop."""
    found = 0
    for k, value in enumerate(sorted(p), start=1):
        if value <= alpha * k / len(p):
            found = k
    return found


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.9])
def test_the_summary_equals_a_plain_loop(alpha: float) -> None:
    values = logits(60, seed=3)
    for row in summary(values, NULLS, [alpha], top_k=TOP_K).to_pylist():
        p = p_values(values[row["layer"]], NULLS[row["null"]][row["layer"]])
        counts = np.array([rejections_by_hand(token, alpha) for token in p])
        assert row["no_rejection_share"] == pytest.approx((counts == 0).mean())
        assert row["mean_rejections"] == pytest.approx(counts.mean())
        assert row["floor_share"] == pytest.approx((counts <= 1).mean())
        assert row["cap_share"] == pytest.approx((counts >= TOP_K).mean())
        assert row["expected_no_rejection"] == pytest.approx(1 - alpha)
        assert row["kolmogorov_distance"] == pytest.approx(kolmogorov_distance(p))


def test_the_summary_is_what_the_rule_rejects() -> None:
    values = logits(300, seed=4)
    rows = summary(values, NULLS, [0.2, 0.6], top_k=TOP_K).to_pylist()
    assert len(rows) == 2 * 2 * 2
    for row in rows:
        rule = BenjaminiHochberg(row["alpha"], EXPERTS, min_k=0, null=NULLS[row["null"]], normalise=False)
        found = rule.select(torch.from_numpy(values[row["layer"]]), row["layer"]).rejections.numpy()
        assert row["no_rejection_share"] == (found == 0).mean()
        assert row["mean_rejections"] == found.mean()


def test_ties_and_logits_on_the_critical_value_count_as_the_definition_says() -> None:
    """p-values 0.25, 0.25, 0.5 and 1 at alpha 0.5 among four: 0.25 <= 0.5 * 2 / 4, 0.5 > 0.5 * 3 / 4."""
    values = [np.array([[0.75, 0.0, 0.75, 0.5]], np.float32)]
    [row] = summary(values, {"right": [uniform_null()]}, [0.5], top_k=2).to_pylist()
    assert (row["mean_rejections"], row["cap_share"], row["floor_share"]) == (2.0, 1.0, 0.0)


def test_where_the_floor_and_the_cap_decide() -> None:
    """A token with no, one, two and three rejections."""
    values = [np.array([[0.1] * 3, [0.99, 0.1, 0.1], [0.99, 0.99, 0.1], [0.99] * 3], np.float32)]
    [row] = summary(values, {"right": [uniform_null()]}, [0.05], top_k=2).to_pylist()
    assert (row["no_rejection_share"], row["floor_share"], row["cap_share"]) == (0.25, 0.5, 0.5)


@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.6])
def test_a_right_null_rejects_nothing_one_minus_alpha_of_the_time(alpha: float) -> None:
    """Simes' equality for independent uniform p-values."""
    tokens = 20_000
    row = summary(logits(tokens, layers=1), {"right": [uniform_null()]}, [alpha], top_k=TOP_K).to_pylist()[0]
    assert abs(row["no_rejection_share"] - (1 - alpha)) < 4 * np.sqrt(alpha * (1 - alpha) / tokens)


def test_more_is_rejected_at_a_higher_level() -> None:
    rows = summary(
        logits(500, layers=1), {"right": [uniform_null()]}, [0.1, 0.3, 0.5, 0.9], top_k=TOP_K
    ).to_pylist()
    means = [row["mean_rejections"] for row in rows]
    assert means == sorted(means) and means[0] < means[-1]


def test_permuting_experts_or_tokens_changes_nothing() -> None:
    values, rng = logits(100), np.random.default_rng(0)
    mixed = [part[rng.permutation(100)][:, rng.permutation(EXPERTS)] for part in values]
    assert summary(values, NULLS, [0.3], top_k=TOP_K).equals(summary(mixed, NULLS, [0.3], top_k=TOP_K))
    assert histograms(values, NULLS).equals(histograms(mixed, NULLS))


def test_logits_may_come_from_a_read_only_stream() -> None:
    values = logits(10)
    for part in values:
        part.setflags(write=False)
    assert len(summary(iter(values), NULLS, [0.3], top_k=TOP_K)) == 4
