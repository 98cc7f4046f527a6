"""Token types in bins: histograms, and means and quantiles by frequency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from switchyard.charts import style
from switchyard.charts.routing import layers, points
from switchyard.charts.routing.layers import Charted
from switchyard.charts.routing.token_types import TokenTypes

BARS = 40
"""Bars of a histogram, about."""
FINEST = 200
"""Most bars of a histogram whose threshold asks for more, since a bar ends at it."""


def edges(top: float, *, through: float | None = None) -> np.ndarray:
    """Ends of a histogram's bars from 0 to at least `top`, evenly spaced; one of them is exactly `through`."""
    width = top / BARS
    if through is None or not 0 < through < top:
        return np.linspace(0.0, top, BARS + 1)
    steps = max(round(through / width), 1)
    width = max(through / steps, top / FINEST)
    found = width * np.arange(int(np.ceil(top / width)) + 1)
    found[np.argmin(np.abs(found - through))] = through
    return found


def histogram(types: TokenTypes, column: str, ends: np.ndarray) -> pd.DataFrame:
    """Columns `layer, left, right, types`: token types with left <= value < right (last bar: <=), none left out."""
    parts = [
        pd.DataFrame(
            {
                "layer": layer,
                "left": ends[:-1],
                "right": ends[1:],
                "types": np.histogram(own[column], ends)[0],
            }
        )
        for layer, own in types.rows.groupby("layer", sort=False)
    ]
    found = pd.concat(parts) if parts else pd.DataFrame(columns=["layer", "left", "right", "types"])
    return found[found["types"] > 0]


def bars(
    charted: Charted, frame: pd.DataFrame, x_title: str, top: float, hue: str, *, below: float | None = None
) -> alt.Chart:
    """A histogram's bars; those up to `below` are in the colour of what is eligible."""
    scale = alt.Scale(domain=[0, top], nice=False)
    x = alt.X("left:Q", bin="binned", scale=scale, axis={"title": x_title, "format": ".1f", "tickCount": 5})
    tips = [
        alt.Tooltip("left:Q", title="from", format=".3f"),
        alt.Tooltip("right:Q", title="to", format=".3f"),
        alt.Tooltip("types:Q", title="token types", format=","),
    ]
    colour = alt.value(hue)
    if below is not None:
        colour = alt.condition(
            f"datum.right <= {below * (1 + 1e-5)!r}", alt.value(points.ELIGIBLE), alt.value(hue)
        )
    y = alt.Y("types:Q", axis={"title": "token types", "format": "~s", "tickCount": 5})
    return charted(frame).mark_bar(binSpacing=0.6).encode(x=x, x2="right:Q", y=y, color=colour, tooltip=tips)


def by_frequency(types: TokenTypes, column: str) -> pd.DataFrame:
    """Columns `layer, frequency, least, most, mean, low, high, types`: bins 1, 2-3, 4-7, ... of the frequency.

    `frequency` is the geometric middle of the bin's ends; `low` and `high` are the mean -/+ the population standard
    deviation over the bin's types.
    """
    power = np.floor(np.log2(types.rows["frequency"])).astype(int).rename("power")
    groups = types.rows.groupby(["layer", power], sort=False)[column]
    found = groups.agg(mean="mean", spread=lambda values: values.std(ddof=0), types="size").reset_index()
    least = 2.0 ** found["power"]
    return (
        found.assign(
            frequency=np.sqrt(least * (2 * least - 1)),
            least=least.astype(int),
            most=(2 * least - 1).astype(int),
            low=found["mean"] - found["spread"],
            high=found["mean"] + found["spread"],
        )
        .drop(columns=["power", "spread"])
        .sort_values(["layer", "frequency"])
    )


def means(charted: Charted, frame: pd.DataFrame, y_title: str, top: float, most: int) -> list[alt.Chart]:
    """Mean of each bin of `by_frequency`, a band of one standard deviation about it."""
    x = points.frequency_x(most, field="frequency:Q")
    y = points.value_y(y_title, top, field="mean:Q")
    tips = [
        alt.Tooltip("least:Q", title="frequency from", format=","),
        alt.Tooltip("most:Q", title="to", format=","),
        alt.Tooltip("types:Q", title="token types", format=","),
        alt.Tooltip("mean:Q", format=".4f"),
        alt.Tooltip("low:Q", title="mean - s.d.", format=".4f"),
        alt.Tooltip("high:Q", title="mean + s.d.", format=".4f"),
    ]
    base = charted(frame).encode(x=x)
    band = base.mark_area(opacity=0.22, clip=True, color=style.HUES[0]).encode(
        y=points.value_y(y_title, top, field="low:Q"), y2="high:Q"
    )
    line = base.mark_line(strokeWidth=1.5, color=style.HUES[0]).encode(y=y)
    dots = base.mark_circle(size=26, opacity=1, color=style.HUES[0]).encode(y=y, tooltip=tips)
    return [band, line, dots]


def row(views: Sequence[alt.LayerChart], width: int, height: int, gap: int) -> dict[str, Any]:
    """Views of one layer beside each other, `gap` pixels of axes between them."""
    each = (width - gap * len(views)) // len(views)
    return layers.row(*[view.properties(width=each, height=height) for view in views], spacing=14)
