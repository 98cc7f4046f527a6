"""How many experts each rule gives a token, slowly and obviously: one token, one expert, one rank at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reference.bh import cdf, rejections

Grid = tuple[Sequence[float], Sequence[float]]
"""Grid logits and F on them."""


def choose(logits: Sequence[float], number: int, min_k: int, max_k: int) -> list[int]:
    """The experts of one token, largest logit first and lowest index first among equals."""
    order = sorted(range(len(logits)), key=lambda expert: (-logits[expert], expert))
    return order[: min(max(number, min_k), max_k)]


def benjamini_yekutieli(p_values: Sequence[float], alpha: float) -> int:
    """Rejections of BH at alpha / (1 + 1/2 + ... + 1/E)."""
    return rejections(p_values, alpha / math.fsum(1.0 / i for i in range(1, len(p_values) + 1)))


def higher_criticism(p_values: Sequence[float], gamma: float) -> int:
    """The smallest k of the largest HC(k) above 0, k up to gamma E (and 1 at least) but below E; 0 if none is."""
    total, ordered = len(p_values), sorted(p_values)
    best, number = 0.0, 0
    for k in range(1, total):
        if k > 1 and k > gamma * total + 1e-9:
            break
        share = k / total
        criticism = math.sqrt(total) * (share - ordered[k - 1]) / math.sqrt(share * (1.0 - share))
        if criticism > best:
            best, number = criticism, k
    return number


def conformal_p_value(x: float, calibration: Sequence[float]) -> float:
    """(1 + #{calibration >= x}) / (n + 1)."""
    return (1 + sum(value >= x for value in calibration)) / (len(calibration) + 1)


def local_fdr_table(
    unselected: Grid, pooled: Grid, null_share: float, bins: int
) -> list[tuple[float, float]]:
    """(logit, rate) of every interval between the pooled quantiles 1/bins, 2/bins, ... that holds anything."""
    edges = sorted({quantile(pooled, j / bins) for j in range(1, bins)})
    mass = [0.0, *(cdf(edge, *pooled) for edge in edges), 1.0]
    null_mass = [0.0, *(cdf(edge, *unselected) for edge in edges), 1.0]
    table: list[tuple[float, float]] = []
    lowest = 1.0
    for place in range(len(edges) + 1):
        inside = mass[place + 1] - mass[place]
        if inside > 1e-9:
            lowest = min(lowest, null_share * (null_mass[place + 1] - null_mass[place]) / inside)
            table.append((quantile(pooled, (mass[place] + mass[place + 1]) / 2.0), lowest))
    return table


def quantile(grid: Grid, level: float) -> float:
    """The least logit at which F reaches the level, within the range of the grid."""
    logit, values = grid
    if level <= values[0]:
        return logit[0]
    for right in range(1, len(logit)):
        if values[right] >= level:
            left = right - 1
            slope = (logit[right] - logit[left]) / (values[right] - values[left])
            return logit[left] + slope * (level - values[left])
    return logit[-1]


def rate_at(x: float, table: Sequence[tuple[float, float]]) -> float:
    """Linear between the points of the table, constant beyond them; at a jump the rate to its right."""
    if x < table[0][0]:
        return table[0][1]
    for (left, high), (right, low) in zip(table[:-1], table[1:], strict=True):
        if left <= x < right:
            return high + (low - high) * (x - left) / (right - left)
    return table[-1][1]


def top_p(probabilities: Sequence[float], p: float) -> int:
    """The fewest of the largest probabilities that sum to at least p; all where none do."""
    total = 0.0
    for number, probability in enumerate(sorted(probabilities, reverse=True), start=1):
        total += probability
        if total >= p:
            return number
    return len(probabilities)


def random_count(weights: Sequence[int], draw: float) -> int:
    """The first count whose cumulative share exceeds the draw."""
    return next(count for count in range(len(weights)) if sum(weights[: count + 1]) / sum(weights) > draw)


def mean_count(tokens: Sequence[Sequence[float]], alpha: float, min_k: int, max_k: int) -> float:
    """The mean over tokens of BH's clamped rejections, from the p-values of each token."""
    return sum(min(max(rejections(p, alpha), min_k), max_k) for p in tokens) / len(tokens)
