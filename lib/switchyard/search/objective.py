"""From (quality, speed) to one number to minimise: the fastest point whose quality is no worse than a limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from switchyard.errors import InputError

NO_SPEED_UP = 1.0
"""Speed of the untouched model."""


@dataclass(frozen=True)
class Outcome:
    """What a point is worth; all but `failed` are None where it failed."""

    quality: float | None = None
    """Perplexity under the rule."""
    speed: float | None = None
    """How many times as fast as the untouched model."""
    degradation: float | None = None
    """Perplexity over that of the untouched model on the same samples, - 1; below 0 where the rule does better."""
    feasible: bool | None = None
    objective: float | None = None
    acting_share: float | None = None
    """Share of (MoE block, token) that was not routed as by the untouched model; None where that is not counted."""
    failed: str | None = None
    """Why there is no number."""


@dataclass(frozen=True)
class Objective:
    """The most speed with a degradation of at most `max_quality_degradation`.

    Minimised is -speed where a point is feasible, else 1 + (degradation - limit): above any feasible point, and larger
    the farther the point is from the limit, on the scale of the speeds (a penalty of 1e9 would hide them from a model
    of the objective).

    Raises:
        InputError: a baseline or a limit that is none.
    """

    baseline: float
    """Perplexity of the untouched model."""
    max_quality_degradation: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.baseline) and self.baseline > 0):
            raise InputError(
                f"search: the untouched model's perplexity is {self.baseline}; check the model and its text"
            )
        if not 0 <= self.max_quality_degradation < math.inf:
            raise InputError(
                f"search: max_quality_degradation is {self.max_quality_degradation}; give a number from 0 upwards"
            )

    def outcome(self, quality: float, speed: float, acting_share: float | None = None) -> Outcome:
        """Judge a point; one with a number that is not finite, or not above 0, has failed."""
        for name, value in (("quality", quality), ("speed", speed)):
            if not (math.isfinite(value) and value > 0):
                return Outcome(failed=f"{name} is {value}")
        degradation = quality / self.baseline - 1
        feasible = degradation <= self.max_quality_degradation
        objective = -speed if feasible else 1 + (degradation - self.max_quality_degradation)
        return Outcome(quality, speed, degradation, feasible, objective, acting_share)
