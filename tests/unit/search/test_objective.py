"""One number from quality and speed; what is no number has failed."""

from __future__ import annotations

import math

import pytest

from reference import search as reference
from switchyard.errors import InputError
from switchyard.search.objective import Objective

OBJECTIVE = Objective(baseline=20.0, max_quality_degradation=0.005)


@pytest.mark.parametrize("quality", [15.0, 20.0, 20.05, 20.2, 40.0])
@pytest.mark.parametrize("speed", [0.5, 1.0, 1.7])
def test_equals_the_reference(quality, speed):
    found = OBJECTIVE.outcome(quality, speed, 0.3)
    assert found.objective == pytest.approx(reference.objective(quality, speed, 20.0, 0.005), rel=1e-12)
    assert found.degradation == pytest.approx(quality / 20 - 1)
    assert (found.quality, found.speed, found.acting_share, found.failed) == (quality, speed, 0.3, None)


def test_the_limit_itself_is_feasible():
    exact = Objective(baseline=1.0, max_quality_degradation=0.5)
    assert exact.outcome(1.5, 2.0).feasible
    assert not exact.outcome(math.nextafter(1.5, 2), 2.0).feasible


def test_every_feasible_point_is_below_every_other():
    feasible = [OBJECTIVE.outcome(20.0, speed).objective for speed in (0.01, 1.0, 9.0)]
    others = [OBJECTIVE.outcome(quality, 9.0).objective for quality in (20.11, 25.0)]
    assert feasible == sorted(feasible, reverse=True) and max(feasible) < min(others)
    assert others == sorted(others)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_what_is_no_number_has_failed(bad):
    for found, name in ((OBJECTIVE.outcome(bad, 1.0), "quality"), (OBJECTIVE.outcome(20.0, bad), "speed")):
        assert found.failed == f"{name} is {bad}"
        assert found.objective is found.feasible is found.quality is None


def test_a_baseline_or_limit_that_is_none_is_refused():
    with pytest.raises(InputError, match="perplexity is nan"):
        Objective(math.nan, 0.005)
    with pytest.raises(InputError, match="from 0 upwards"):
        Objective(20.0, -0.1)
