"""Benjamini-Hochberg routing, slowly and obviously: one token, one expert, one k at a time, in float64."""

from __future__ import annotations

from collections.abc import Sequence


def cdf(x: float, grid: Sequence[float], values: Sequence[float]) -> float:
    """F(x): linear between the grid logits, 0 below the first and 1 above the last."""
    if x < grid[0]:
        return 0.0
    if x > grid[-1]:
        return 1.0
    for left in range(len(grid)):
        if x == grid[left]:
            return values[left]
        if x < grid[left + 1]:
            slope = (values[left + 1] - values[left]) / (grid[left + 1] - grid[left])
            return min(values[left] + slope * (x - grid[left]), values[left + 1])
    raise AssertionError("unreachable")


def rejections(p_values: Sequence[float], alpha: float) -> int:
    """n = max{k in 1..E : p_(k) <= alpha k / E}, 0 if there is none."""
    ordered = sorted(p_values)
    return max((k for k, p in enumerate(ordered, start=1) if p <= alpha * k / len(ordered)), default=0)


def choose(
    logits: Sequence[float],
    *,
    grid: Sequence[float],
    values: Sequence[float],
    alpha: float,
    min_k: int,
    max_k: int,
) -> tuple[list[int], int]:
    """The experts of one token, largest logit first and lowest index first among equals, and the rejections."""
    n = rejections([1.0 - cdf(x, grid, values) for x in logits], alpha)
    count = min(max(n, min_k), max_k)
    order = sorted(range(len(logits)), key=lambda expert: (-logits[expert], expert))
    return order[:count], n
