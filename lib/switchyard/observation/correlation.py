"""Spearman's rank correlation with a p-value that also holds for few rows, and an interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

EXACT = 8
"""Up to so many rows the p-value is counted over all orders (8! = 40,320); beyond, Student's t is close."""

FEWEST = 3
_PERFECT = 1 - 1e-12


class Correlation(NamedTuple):
    """rho, its two-sided p-value and 95 % interval, of n rows; what is not defined is None, with the reason."""

    rho: float | None
    p: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None


def spearman(x: np.ndarray, y: np.ndarray, *, names: tuple[str, str], resolution: float = 0.0) -> Correlation:
    """Spearman's rho of x and y, [n] each: Pearson's r of their ranks, tied values sharing their mean rank.

    The p-value is that of SciPy (Student's t), and exact for at most `EXACT` rows, where t calls perfect order certain:
    p = 0 for three rows that one order in six puts there. The interval is Fisher's z with the standard error
    sqrt((1 + rho**2 / 2) / (n - 3)) of Bonett and Wright (2000, Sample size requirements for estimating Pearson,
    Kendall and Spearman correlations). Both take rows as independent; ties are not corrected for in the interval.

    Args:
        x, y: finite numbers.
        names: what x and y are, in the plural, for the reason.
        resolution: values of y that all lie closer together than this count as equal.
    """
    n = len(x)
    if n < FEWEST:
        return Correlation(None, None, None, None, n, f"fewer than {FEWEST} rows")
    for values, name, least in ((x, names[0], 0.0), (y, names[1], resolution)):
        if np.ptp(values) <= least:
            return Correlation(None, None, None, None, n, f"all {name} are equal")
    rho, p = (float(one) for one in stats.spearmanr(x, y))
    if n <= EXACT:
        p = _exact_p(x, y)
    if n <= 3 or abs(rho) > _PERFECT:
        few = f"no interval for {n} rows" if n <= 3 else "no interval for ranks in perfect order"
        return Correlation(rho, p, None, None, n, few)
    reach = stats.norm.ppf(0.975) * np.sqrt((1 + rho**2 / 2) / (n - 3))
    low, high = np.tanh(np.arctanh(rho) + np.array([-reach, reach]))
    return Correlation(rho, p, float(low), float(high), n)


def _exact_p(x: np.ndarray, y: np.ndarray) -> float:
    """Two-sided p-value over all pairings of x with y."""
    ranks = stats.rankdata(y) - (len(y) + 1) / 2
    found = stats.permutation_test(
        (stats.rankdata(x),),
        lambda order, axis: (order * ranks).sum(axis),
        permutation_type="pairings",
        vectorized=True,
        n_resamples=np.inf,
    )
    return float(found.pvalue)
