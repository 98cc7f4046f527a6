"""pass@k: the probability that one of k completions of a problem passes its tests."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean


def pass_at_k(samples: int, passed: int, k: int) -> float | None:
    """The unbiased estimate 1 - C(n - c, k) / C(n, k) from n samples of which c pass (Chen et al., 2021, eq. 1).

    It is the share of all draws of k samples, without replacement, in which one passes at least. None where k is
    more than n: no such estimate exists.
    """
    if k > samples:
        return None
    failing = 1.0
    for size in range(samples - passed + 1, samples + 1):  # C(n - c, k) / C(n, k), without large numbers
        failing *= max(0.0, 1.0 - k / size)
    return 1.0 - failing


def mean_pass_at_k(counts: Iterable[tuple[int, int]], k: int) -> float | None:
    """The mean over problems of (samples, passed); None where a problem has fewer than k samples."""
    found = [pass_at_k(samples, passed, k) for samples, passed in counts]
    return None if not found or None in found else fmean(found)
