"""Where a rule begins to pay, by the performance model: its speed-up along one variable at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from switchyard.profiling.performance_model import PerformanceModel
from switchyard.profiling.points import DECODE, PREFILL

SHARES = tuple(step / 20 for step in range(21))
WIDTHS = tuple(2**power for power in range(9))
"""Times the measured width of an expert."""
BATCHES = tuple(2**power for power in range(9))

LOOKED_UP, LOOKED_UP_HALF = "share looked up", "share looked up, half the experts"
EXPERTS, WIDTH, BATCH = "experts of a token, share of top-k", "expert width, times the measured", "batch"


def curves(model: PerformanceModel) -> list[dict[str, Any]]:
    """Rows `rule, phase, variable, value, speedup, low, high, measured`, the last whether it lies in what was measured.

    A rule that looks routes up is followed along the share that it looks up, with as many experts as the router gives
    and with half; others along their mean number of experts; all along the experts' width and the batch.
    """
    rows = []
    for phase in (PREFILL, DECODE):
        size = _usual(model, phase)
        for rule in model.rules:
            for variable, points in _variables(model, rule, size).items():
                for value, given in points:
                    found = model.predict_speedup(rule, phase=phase, **{**size, **given})
                    row = {"rule": rule, "phase": phase, "variable": variable, "value": value}
                    row |= {"speedup": found.speedup, "low": found.low, "high": found.high}
                    rows.append({**row, "measured": not found.doubts})
    return rows


def break_evens(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each curve `first` and `last`, its speed-ups at the ends, and `at`: where it crosses 1, None if never."""
    found = []
    keys = list(dict.fromkeys((row["rule"], row["phase"], row["variable"]) for row in rows))
    for rule, phase, variable in keys:
        own = [row for row in rows if (row["rule"], row["phase"], row["variable"]) == (rule, phase, variable)]
        ends = {"first": own[0]["speedup"], "last": own[-1]["speedup"]}
        found.append({"rule": rule, "phase": phase, "variable": variable, "at": crossing(own), **ends})
    return found


def crossing(rows: Sequence[dict[str, Any]]) -> float | None:
    """The first value at which the speed-up passes 1, between two points by a straight line."""
    for one, two in zip(rows, rows[1:]):
        below, above = one["speedup"] - 1, two["speedup"] - 1
        if below * above <= 0 and below != above:
            return one["value"] + (two["value"] - one["value"]) * below / (below - above)
    return None


def _usual(model: PerformanceModel, phase: str) -> dict[str, float]:
    """Batch 1, at the geometric middle of the measured lengths."""
    ranges = model.ranges[phase]
    name = next(one for one in ranges if one != "batch")
    low, high = ranges[name]
    return {"batch": max(1, ranges["batch"][0]), name: max(1, round((max(low, 1) * high) ** 0.5))}


def _variables(
    model: PerformanceModel, rule: str, size: dict[str, float]
) -> dict[str, list[tuple[float, dict[str, float]]]]:
    top_k, wide = model.structure["top_k"], model.structure["intermediate_size"]
    found = {
        WIDTH: [(times, {"intermediate_size": times * wide}) for times in WIDTHS],
        BATCH: [(batch, {"batch": batch}) for batch in BATCHES],
    }
    if model.rules[rule]["has_paths"]:
        for name, kept in ((LOOKED_UP, top_k), (LOOKED_UP_HALF, max(1, top_k / 2))):
            found[name] = [(one, {"hit_rate": one, "looked_up_experts": kept}) for one in SHARES]
    else:
        found[EXPERTS] = [(one, {"experts": max(1.0, one * top_k)}) for one in SHARES[1:]]
    return found
