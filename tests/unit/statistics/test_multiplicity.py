"""Holm's procedure by hand, against closed testing, and the verdicts drawn from it."""

from __future__ import annotations

import numpy as np
import pytest

from reference import statistics as reference
from switchyard.statistics.multiplicity import BETTER, UNDECIDED, WORSE, holm, verdict


def test_by_hand() -> None:
    """4 * 0.005 = 0.02; 3 * 0.01 = 0.03; 2 * 0.03 = 0.06; 1 * 0.04 would fall below 0.06 and is raised to it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize("size, seed", [(1, 0), (2, 1), (5, 2), (7, 3), (8, 4)])
def test_it_equals_closed_testing(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p_values = (rng.random(size) ** 3).round(2).tolist()  # rounded, so that some are equal or 0
    assert holm(p_values) == pytest.approx(reference.holm(p_values))


def test_what_was_not_tested_does_not_count() -> None:
    assert holm([None, 0.02, None, 0.03]) == [None, 0.04, None, 0.04]
    assert holm([None, None]) == [None, None] and holm([]) == []


def test_one_test_alone_is_left_as_it_is() -> None:
    assert holm([0.3]) == [0.3]


def test_no_p_value_goes_above_one_or_below_its_own() -> None:
    p_values = [0.9, 0.5, 0.2, 0.5]
    adjusted = holm(p_values)
    assert all(own <= more <= 1 for own, more in zip(p_values, adjusted, strict=True))
    assert adjusted[0] == 1.0


@pytest.mark.parametrize(
    "gain, p, said",
    [
        (0.1, 0.049, BETTER),
        (-0.1, 0.049, WORSE),
        (0.1, 0.05, UNDECIDED),
        (-0.1, 0.9, UNDECIDED),
        (0.1, None, UNDECIDED),
        (0.0, 0.001, UNDECIDED),
    ],
)
def test_verdicts(gain: float, p: float | None, said: str) -> None:
    assert verdict(gain, p) == said
