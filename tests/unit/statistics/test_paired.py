"""The bootstrap of a ratio of sums and McNemar's test, against loops, by hand and at their limits."""

from __future__ import annotations

import numpy as np
import pytest

from reference import statistics as reference
from switchyard.statistics.paired import LEVEL, RESAMPLES, mcnemar, ratio_tests, resamplings

FEW = 999


def pair(samples: int = 30, seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, 50, samples)
    return (rng.exponential(size=samples) - 1 + shift) * np.sqrt(tokens), tokens


@pytest.mark.parametrize("samples, seed", [(12, 1), (30, 2), (30, 3)])
def test_the_bootstrap_equals_a_plain_loop(samples: int, seed: int) -> None:
    d, w = pair(samples, seed, shift=0.3)
    counts = np.concatenate(list(resamplings(samples, FEW))).astype(int)
    draws = [np.repeat(np.arange(samples), row).tolist() for row in counts]
    low, high, p = reference.bootstrap_t(d.tolist(), w.tolist(), draws)
    [found] = ratio_tests([(d, w)], resamples=FEW)
    assert found == pytest.approx((d.sum() / w.sum(), low, high, p), rel=1e-9)
    assert all(type(value) is float for value in found)


def test_resamples_draw_as_many_samples_as_there_are_and_each_alike() -> None:
    counts = np.concatenate(list(resamplings(7, 20_000)))
    assert counts.shape == (20_000, 7) and (counts.sum(1) == 7).all()
    assert np.abs(counts.mean(0) - 1).max() < 5 * np.sqrt((1 - 1 / 7) / 20_000)
    assert counts.var(0) == pytest.approx(1 - 1 / 7, rel=0.05)


def test_chunks_hold_all_resamples_and_fit_in_memory() -> None:
    chunks = list(resamplings(3000, 1000))
    assert len(chunks) > 1 and sum(len(chunk) for chunk in chunks) == 1000
    assert max(chunk.nbytes for chunk in chunks) <= 2**23


def test_a_comparison_does_not_depend_on_the_others() -> None:
    pairs = [pair(20, 1), pair(9, 2), pair(20, 3, shift=1.0), pair(1, 4), pair(9, 5)]
    together = ratio_tests(pairs, resamples=FEW)
    assert together == [ratio_tests([one], resamples=FEW)[0] for one in pairs]
    assert together[::-1] == ratio_tests(pairs[::-1], resamples=FEW)
    assert ratio_tests([]) == []


@pytest.mark.parametrize("seed", range(30))
def test_the_interval_leaves_out_zero_where_the_p_value_is_small(seed: int) -> None:
    d, w = pair(25, seed, shift=0.25)
    [found] = ratio_tests([(d, w)], resamples=FEW)
    assert (found.low > 0 or found.high < 0) == (found.p <= LEVEL)
    assert (found.low + found.high) / 2 == pytest.approx(found.ratio)


def test_the_interval_test_above_sees_both_sides() -> None:
    verdicts = {ratio_tests([pair(25, seed, shift=0.25)], resamples=FEW)[0].p <= LEVEL for seed in range(30)}
    assert verdicts == {True, False}


def test_scale_and_sign() -> None:
    d, w = pair(shift=0.4)
    plain, turned, scaled = ratio_tests([(d, w), (-d, w), (8 * d, w)], resamples=FEW)
    assert (turned.ratio, turned.low, turned.high) == (-plain.ratio, -plain.high, -plain.low)
    assert turned.p == plain.p == scaled.p
    assert scaled.high == pytest.approx(8 * plain.high)


def test_an_interval_is_near_the_normal_one_where_samples_are_many_and_normal() -> None:
    rng = np.random.default_rng(0)
    d, w = rng.normal(0.1, 1.0, 2000), np.full(2000, 3)
    [found] = ratio_tests([(d, w)], resamples=1999)
    ratio, error = reference.ratio_and_error(d.tolist(), w.tolist())
    assert (found.high - ratio) / error == pytest.approx(1.96, abs=0.12)


def test_the_smallest_p_value_survives_holm_among_two_thousand() -> None:
    d, w = pair(60, shift=5.0)
    [found] = ratio_tests([(d, w)])
    assert found.p == 1 / (RESAMPLES + 1)
    assert 2000 * found.p < 0.05


def test_how_often_nothing_is_taken_for_something() -> None:
    """300 comparisons without a difference: at 0.05 about 15 are rejected, by chance 4 to 28."""
    rng = np.random.default_rng(0)
    pairs = [(rng.exponential(size=50) - 1, np.ones(50)) for _ in range(300)]
    rejected = sum(test.p <= LEVEL for test in ratio_tests(pairs, resamples=FEW))
    assert 4 <= rejected <= 30


# --- limits


@pytest.mark.parametrize("samples", [2, 3, 40])
def test_no_difference_at_all(samples: int) -> None:
    assert ratio_tests([(np.zeros(samples), np.ones(samples))], resamples=FEW) == [(0.0, 0.0, 0.0, 1.0)]


def test_one_sample_says_nothing() -> None:
    assert ratio_tests([(np.array([3.0]), np.array([2]))]) == [(1.5, None, None, None)]


def test_the_same_difference_per_token_everywhere_is_certain() -> None:
    w = np.array([1, 2, 4, 8, 16])
    assert ratio_tests([(0.5 * w, w)], resamples=FEW) == [(0.5, 0.5, 0.5, 1 / (FEW + 1))]


def test_a_single_sample_that_differs_has_no_bounded_interval() -> None:
    """A third of the resamples lack it, and show no difference and no error."""
    d = np.zeros(30)
    d[4] = 2.0
    [found] = ratio_tests([(d, np.ones(30))], resamples=FEW)
    assert found.low is found.high is None
    assert found.p > 0.3


def test_two_samples_are_never_enough() -> None:
    [found] = ratio_tests([(np.array([1.0, 1.01]), np.ones(2))], resamples=FEW)
    assert found.low is None and found.p > LEVEL


# --- McNemar


@pytest.mark.parametrize("a, b", [(0, 0), (1, 0), (0, 6), (3, 3), (12, 2), (40, 61)])
def test_mcnemar_equals_the_sum_of_the_tail(a: int, b: int) -> None:
    assert mcnemar(a, b) == pytest.approx(reference.mcnemar(a, b))
    assert mcnemar(a, b) == mcnemar(b, a)
