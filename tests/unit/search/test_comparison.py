"""Methods compared over seeds: equal budget, a test, and a verdict either way."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from reference import search as reference
from switchyard.errors import InputError
from switchyard.search.comparison import best_by_seed, compare, sign_flip


def rows(speeds: dict[int, list[float]]) -> pd.DataFrame:
    """A negative speed is one of an infeasible point."""
    found = [
        {"seed": seed, "speed": abs(speed), "feasible": speed > 0}
        for seed, row in speeds.items()
        for speed in row
    ]
    return pd.DataFrame(found)


def test_the_smaller_budget_counts_for_both():
    ours = rows({0: [1.1, 1.2, 1.9], 1: [1.3, 1.2, 1.1]})
    found = compare({"bayesian": ours, "random": rows({0: [1.1, 1.0], 1: [1.0, 1.1]})})
    assert found.budget == 2
    assert (found.mean, found.control_mean) == (pytest.approx(1.25), pytest.approx(1.1))
    assert (found.wins, found.losses) == (2, 0)


def test_infeasible_points_count_as_nothing_and_none_as_the_untouched_model():
    assert best_by_seed(rows({0: [1.1, -1.9], 3: [-1.5, -1.6]}), 2) == {0: 1.1, 3: 1.0}


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ([1.30, 1.31, 1.32], [1.1, 1.12, 1.11], "better"),
        ([1.1, 1.12, 1.11], [1.30, 1.31, 1.32], "worse"),
        ([1.30, 1.05, 1.2], [1.1, 1.22, 1.19], "not distinguishable"),
        ([1.2, 1.3, 1.4], [1.2, 1.3, 1.4], "not distinguishable"),
    ],
)
def test_the_verdict_goes_with_the_interval(ours, theirs, verdict):
    methods = {
        name: rows({seed: [speed] for seed, speed in enumerate(speeds)})
        for name, speeds in (("bayesian", ours), ("random", theirs))
    }
    found = compare(methods)
    assert found.verdict == verdict
    difference = np.subtract(ours, theirs)
    assert found.difference == pytest.approx(difference.mean())
    assert found.p_sign_flip == pytest.approx(reference.sign_flip(list(difference)))
    if difference.any():
        expected = ttest_1samp(difference, 0)
        assert found.p == pytest.approx(expected.pvalue)
        assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
        assert (found.low > 0 or found.high < 0) == (verdict != "not distinguishable")
    else:
        assert (found.low, found.high, found.p) == (None, None, 1.0)


def test_one_seed_says_nothing():
    found = compare({"bayesian": rows({0: [1.5]}), "random": rows({0: [1.2]})})
    assert (found.p, found.low, found.verdict) == (None, None, "not distinguishable")


def test_only_common_seeds_are_compared():
    found = compare({"bayesian": rows({0: [1.5], 1: [9.0]}), "random": rows({0: [1.2], 2: [1.0]})})
    assert (found.seeds, found.mean, found.control_mean) == (1, 1.5, 1.2)
    with pytest.raises(InputError, match="no seed in common"):
        compare({"bayesian": rows({0: [1.5]}), "random": rows({1: [1.2]})})


@pytest.mark.parametrize("seeds", [1, 2, 3, 6])
def test_sign_flip_equals_the_reference(seeds):
    differences = np.random.default_rng(seeds).normal(0.3, 1, seeds).round(1)
    assert sign_flip(differences) == pytest.approx(reference.sign_flip(list(differences)))
