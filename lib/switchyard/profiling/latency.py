"""Latencies one by one: percentiles with intervals, the tail, and each rule against the untouched model."""

from __future__ import annotations

from typing import Any

import pandas as pd

from switchyard.profiling.intervals import median, quantile
from switchyard.profiling.names import UNTOUCHED

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9)
SAME = 0.02
"""A ratio of latencies whose interval lies within 1 +- SAME is the same."""
FASTER, SLOWER, EQUAL, OPEN = "faster", "slower", "same", "ambiguous"


def percentiles(latencies: pd.DataFrame) -> pd.DataFrame:
    """Columns `rule, phase, percentile, latency_ms, low, high, enough`.

    `enough` is False where too few samples lie beyond a percentile for an interval, which then has an open end.
    """
    rows = []
    for (rule, phase), own in latencies.groupby(["rule", "phase"], sort=False):
        for one in PERCENTILES:
            found = quantile(own["latency_ms"], one / 100)
            row = {"rule": rule, "phase": phase, "percentile": one, "latency_ms": found.value}
            rows.append(row | {"low": found.low, "high": found.high, "enough": None not in found})
    return pd.DataFrame(rows)


def compared(latencies: pd.DataFrame) -> list[dict[str, Any]]:
    """Each rule against the untouched model in each phase.

    The median of the latencies' ratio, paired by sample, with its interval (`switchyard.profiling.intervals`; the
    samples are taken as independent, and nothing is corrected for the number of rules): `same` where the interval lies
    within 1 +- SAME, else `faster` or `slower` where it leaves 1 out, else `ambiguous`. `tail_ratio` is P99 over P50,
    `longest_tail_ratio` P99.9 over P50, None where there are too few samples.
    """
    found = []
    for phase, own in latencies.groupby("phase", sort=False):
        wide = own.pivot(index="sample", columns="rule", values="latency_ms")
        ranks = percentiles(own).set_index(["rule", "percentile"])
        for rule in own["rule"].unique():
            ratio = median((wide[rule] / wide[UNTOUCHED]).tolist())
            tails = {name: _tail(ranks, rule, one) for name, one in _TAILS.items()}
            row = {"rule": rule, "phase": phase, "samples": len(wide), "ratio": ratio.value}
            row |= {"low": ratio.low, "high": ratio.high, "verdict": verdict(ratio.low, ratio.high), **tails}
            found.append(row)
    return [row for row in found if row["rule"] != UNTOUCHED] + [
        {**row, "verdict": None} for row in found if row["rule"] == UNTOUCHED
    ]


_TAILS = {"tail_ratio": 99, "longest_tail_ratio": 99.9}


def verdict(low: float | None, high: float | None) -> str:
    """What an interval of the ratio of latencies says."""
    if low is None or high is None:
        return OPEN
    if low >= 1 - SAME and high <= 1 + SAME:
        return EQUAL
    return FASTER if high < 1 else SLOWER if low > 1 else OPEN


def _tail(ranks: pd.DataFrame, rule: str, percentile: float) -> float | None:
    if not ranks.loc[(rule, percentile), "enough"]:
        return None
    return float(ranks.loc[(rule, percentile), "latency_ms"] / ranks.loc[(rule, 50), "latency_ms"])
