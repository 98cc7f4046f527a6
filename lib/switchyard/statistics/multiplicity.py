"""Many tests at once: p-values adjusted for their number, and what may be said after it."""

from __future__ import annotations

from collections.abc import Sequence

LEVEL = 0.05
"""Probability, at most, of a single false verdict in a family of tests."""

BETTER, WORSE, UNDECIDED = "better", "worse", "not distinguishable"


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values of Holm's step-down procedure (Holm, 1979), in the order given.

    Those at most 0.05 are the tests that Holm rejects with a probability of at most 0.05 of a single false
    rejection, however the tests depend on each other. None stays None and does not count as a test.
    """
    ascending = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for before, (p, place) in enumerate(ascending):
        largest = max(largest, min(1.0, (len(ascending) - before) * p))
        adjusted[place] = largest
    return adjusted


def verdict(gain: float, adjusted_p: float | None) -> str:
    """What a comparison says: `gain` is above 0 where this one did better; without a p-value nothing is said."""
    if adjusted_p is None or adjusted_p >= LEVEL or gain == 0:
        return UNDECIDED
    return BETTER if gain > 0 else WORSE
