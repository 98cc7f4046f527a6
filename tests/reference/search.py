"""What the search's tests compare with: obvious loops, and a synthetic objective with a limit on quality."""

from __future__ import annotations

import itertools
import math

LIMIT = 0.005
BASELINE = 20.0


def objective(quality: float, speed: float, baseline: float, limit: float) -> float:
    degradation = (quality - baseline) / baseline
    if degradation > limit:
        return 1 + degradation - limit
    return -speed


def frontier(points: list[tuple[float, float]]) -> set[tuple[float, float]]:
    """(degradation, speed) that no other point beats in one without losing in the other."""
    return {
        one
        for one in points
        if not any(other[0] <= one[0] and other[1] >= one[1] and other != one for other in points)
    }


def best_so_far(rows: list[dict]) -> list[float | None]:
    found = []
    for number in range(len(rows)):
        speeds = [row["speed"] for row in rows[: number + 1] if row["feasible"]]
        found.append(max(speeds) if speeds else None)
    return found


def sign_flip(differences: list[float]) -> float:
    own = abs(sum(differences))
    flipped = [
        abs(sum(sign * one for sign, one in zip(signs, differences)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(one >= own - 1e-12 for one in flipped) / len(flipped)


def quantile(values: list[float], weights: list[float], share: float) -> float:
    total, below = sum(weights), 0.0
    for value, weight in sorted(zip(values, weights)):
        below += weight
        if below >= share * total:
            return value
    raise AssertionError


def var_like(point: dict) -> tuple[float, float]:
    """Perplexity and speed-up of a made-up VAR: more tokens looked up are faster and worse, in every dimension."""
    frequency = math.log(point["frequency_threshold"] / 10) / math.log(20)
    entropy = (point["entropy_threshold"] - 0.1) / 1.4
    confidence = (point["confidence_threshold"] - 0.5) / 0.45
    size = math.log(point["cache_size"] / 100) / math.log(100)
    ttl = math.log(point["cache_ttl_seconds"] / 10) / math.log(30)
    window = (point["context_window_size"] - 2) / 6
    fast = (1 - 0.6 * frequency) / (1 + math.exp(-8 * (entropy - 0.5)))
    cached = (1 - fast) * 0.5 * (1 - confidence) * (0.4 + 0.6 * size) * (0.5 + 0.5 * ttl) * (1 - 0.7 * window)
    speed = 1 / (1 - 0.3 * fast - 0.25 * cached)
    loss = 0.03 * fast**2 * (1 - 0.5 * frequency) + 0.002 * ttl * cached
    loss += 0.03 * cached * (1 - 0.9 * window) * (1 - 0.5 * confidence)
    return BASELINE * (1 + loss), speed
