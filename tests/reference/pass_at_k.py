"""pass@k by counting every draw."""

from __future__ import annotations

from itertools import combinations


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Share of the draws of k of the samples, without replacement, in which one passes."""
    draws = list(combinations([True] * passed + [False] * (samples - passed), k))
    return sum(any(draw) for draw in draws) / len(draws)
