"""Intervals of quantiles by order statistics: exact for any continuous distribution, absent where samples are few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binom

LEVEL = 0.95
"""Coverage of the intervals, at least."""


class Quantile(NamedTuple):
    """A sample quantile and its interval; a bound is None where too few samples lie beyond the quantile."""

    value: float
    low: float | None
    high: float | None


def quantile(values: Sequence[float], q: float) -> Quantile:
    """The quantile `q` (0..1), with bounds that each fail with at most (1 - LEVEL) / 2.

    The number of samples below the true quantile is binomial, so that the j-th smallest sample is below it with a known
    probability (David and Nagaraja, Order Statistics, section 7.1). The samples are taken as independent.
    """
    ordered, size, tail = np.sort(np.asarray(values, dtype=float)), len(values), (1 - LEVEL) / 2
    ranks = np.arange(1, size + 1)
    below = ranks[binom.cdf(ranks - 1, size, q) <= tail]  # P(fewer than j samples below) stays small
    above = ranks[binom.sf(ranks - 1, size, q) <= tail]
    return Quantile(
        float(np.quantile(ordered, q)),
        float(ordered[below[-1] - 1]) if below.size else None,
        float(ordered[above[0] - 1]) if above.size else None,
    )


def median(values: Sequence[float]) -> Quantile:
    """The median; fewer than six samples have no interval at this coverage."""
    return quantile(values, 0.5)
