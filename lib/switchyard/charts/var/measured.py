"""What the figure of a comparison is drawn from: quality, speed and paths of each configuration of VAR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from switchyard.charts import style

ORDER = ("fast", "cached", "learned")
"""Paths as bars are stacked."""
FOUND, OPEN = "distinguishable", "not distinguishable"
SPEEDS = {
    "prefill": "prefill",
    "latency_p50": "decoding, median",
    "latency_p95": "decoding, 95th percentile",
}


def qualities(comparisons: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Columns `config, view, value, low, high, verdict`: change of perplexity as a share, by dataset."""
    rows = []
    for one in comparisons:
        low, high = one["quality"]["perplexity_change_interval"]
        row = {"config": one["name"], "view": style.dataset_title(one["dataset"])}
        row |= {"value": one["quality"]["perplexity_change"], "low": low, "high": high}
        rows.append(row | {"verdict": FOUND if one["quality"]["loss"]["significant"] else OPEN})
    return pd.DataFrame(rows)


def speeds(comparisons: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Columns `config, view, value, low, high, verdict`: speed-up by measure; no row where none was measured."""
    rows = []
    for one in {one["name"]: one for one in comparisons}.values():
        for name, title in SPEEDS.items():
            if measured := (one["speed"] or {}).get(name):
                low, high = measured["interval"]
                is_found = low is not None and not low <= 1 <= high
                row = {"config": one["name"], "view": title, "value": measured["ratio"]}
                rows.append(row | {"low": low, "high": high, "verdict": FOUND if is_found else OPEN})
    return pd.DataFrame(rows)


def paths(comparisons: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Columns `config, view, path, share, place`, by dataset."""
    rows = []
    for one in comparisons:
        shares = one["var_stats"]["overall"]["routing_distribution"]
        for place, path in enumerate(ORDER):
            row = {"config": one["name"], "view": style.dataset_title(one["dataset"]), "path": path}
            rows.append(row | {"share": shares[path] / 100, "place": place})
    return pd.DataFrame(rows)
