"""What the figure of entropies is drawn from: their cumulative distribution, and quantiles by range of frequency."""

from __future__ import annotations

import numpy as np
import pandas as pd

from switchyard.charts.routing.token_types import TokenTypes

STEPS = 80
"""Places at which a cumulative distribution is drawn."""
RANGES = (1, 10, 100, 1000, 10_000)
"""First frequency of each range of the boxes; the last range has no end."""
CURVES = ("token types", "occurrences")
QUANTILES = {"p5": 0.05, "q1": 0.25, "median": 0.5, "q3": 0.75, "p95": 0.95}


def cumulative(types: TokenTypes) -> pd.DataFrame:
    """Columns `layer, entropy, of, below`: shares of CURVES with a mean entropy below `entropy`."""
    places = np.union1d(np.linspace(0, types.top, STEPS), types.thresholds["entropy_threshold"])
    parts = []
    for layer, own in types.rows.sort_values("mean_entropy").groupby("layer", sort=False):
        below = np.searchsorted(own["mean_entropy"], places, side="left")
        uses = np.concatenate([[0], own["frequency"].cumsum()])
        for name, shares in zip(CURVES, (below / len(own), uses[below] / uses[-1]), strict=True):
            parts.append(pd.DataFrame({"layer": layer, "entropy": places, "of": name, "below": shares}))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["layer", "entropy", "of", "below"])


def ranges(types: TokenTypes) -> pd.DataFrame:
    """Columns `layer, range, place, types` and quantiles of the mean entropy, by range of the frequency."""
    place = pd.Series(np.searchsorted(RANGES, types.rows["frequency"], side="right") - 1, name="place")
    groups = types.rows.groupby(["layer", place], sort=False)["mean_entropy"]
    found = groups.size().rename("types").to_frame()
    for name, share in QUANTILES.items():
        found[name] = groups.quantile(share)
    return found.reset_index().assign(range=lambda one: one["place"].map(dict(enumerate(range_names()))))


def range_names() -> list[str]:
    """How the axis calls the ranges."""
    bounded = [f"{low:,}–{high - 1:,}" for low, high in zip(RANGES, RANGES[1:])]
    return [*bounded[:3], "1k–10k", "≥ 10k"]
