"""Tests of paired samples and of many hypotheses in plain loops: slow, obvious, and independent of the library."""

from __future__ import annotations

import math
from itertools import combinations


def ratio_and_error(d: list[float], w: list[float]) -> tuple[float, float]:
    """sum(d) / sum(w) and its standard error by linearisation."""
    n, ratio = len(d), sum(d) / sum(w)
    squares = sum((one - ratio * weight) ** 2 for one, weight in zip(d, w, strict=True))
    return ratio, math.sqrt(n / (n - 1) * squares) / sum(w)


def bootstrap_t(d: list[float], w: list[float], draws: list[list[int]]) -> tuple[float, float, float]:
    """Low and high end of the symmetric 95 % interval and the p-value; `draws`: the samples of each resample."""
    ratio, error = ratio_and_error(d, w)
    distances = []
    for drawn in draws:
        again, its_error = ratio_and_error([d[i] for i in drawn], [w[i] for i in drawn])
        distances.append(abs(again - ratio) / its_error)
    farther = sum(distance >= abs(ratio) / error for distance in distances)
    reach = sorted(distances, reverse=True)[round(0.05 * (len(draws) + 1)) - 1]
    return ratio - reach * error, ratio + reach * error, (farther + 1) / (len(draws) + 1)


def mcnemar(a: int, b: int) -> float:
    """Twice the smaller tail of Binomial(a + b, 1/2), at most 1."""
    n, least = a + b, min(a, b)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(least + 1)) / 2**n)


def holm(p_values: list[float]) -> list[float]:
    """By closed testing: the largest Bonferroni p-value of all sets of hypotheses that hold the one in question."""
    places = range(len(p_values))
    subsets = [one for size in range(1, len(p_values) + 1) for one in combinations(places, size)]
    return [
        max(min(1.0, len(one) * min(p_values[i] for i in one)) for one in subsets if place in one)
        for place in places
    ]
