"""Token types in bins: histograms, and means and quantiles by frequency."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.routing.points import ELIGIBLE, frequency_x
from switchyard.charts.routing.token_types import TokenTypes

BARS = 40
"""Bars of a histogram, about."""
FINEST = 200
"""Most bars of a histogram whose threshold asks for more, since a bar ends at it."""


def edges(top: float, *, through: float | None = None) -> np.ndarray:
    """Ends of a histogram's bars [bars + 1] from 0 to at least `top`, even; one of them is exactly `through`."""
    width = top / BARS
    if through is None or not 0 < through < top:
        return np.linspace(0.0, top, BARS + 1)
    steps = max(round(through / width), 1)
    width = max(through / steps, top / FINEST)
    found = width * np.arange(int(np.ceil(top / width)) + 1)
    found[np.argmin(np.abs(found - through))] = through
    return found


def histogram(types: TokenTypes, column: str, ends: np.ndarray) -> pd.DataFrame:
    """Columns `layer, left, right, types`: token types with left <= value < right (last bar: <=); `ends` [bars + 1]."""
    found = [
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
    table = pd.concat(found) if found else pd.DataFrame(columns=["layer", "left", "right", "types"])
    return table[table["types"] > 0]


def bars(title: str, top: float, *, below: float | None = None) -> alt.Chart:
    """A histogram's bars; those up to `below` are in the colour of what is eligible."""
    x = axes.x("left:Q", title, axes.up_to(top), format=".1f")
    x.bin = "binned"
    colour = alt.value(style.HUES[0])
    if below is not None:
        colour = alt.condition(f"datum.right <= {below * (1 + 1e-5)!r}", alt.value(ELIGIBLE), colour)
    y = axes.y("types:Q", "token types", alt.Scale(), format="~s")
    tips = style.tips(left=".3f", right=".3f", types=",")
    return alt.Chart().mark_bar(binSpacing=0.6).encode(x=x, x2="right:Q", y=y, color=colour, tooltip=tips)


def by_frequency(types: TokenTypes, column: str) -> pd.DataFrame:
    """Columns `layer, frequency, least, most, mean, low, high, types`: bins 1, 2-3, 4-7, ... of the frequency.

    `frequency` is the geometric middle of the bin's ends; `low` and `high` are the mean -/+ the population standard
    deviation over the bin's types.
    """
    power = np.floor(np.log2(types.rows["frequency"])).astype(int).rename("power")
    groups = types.rows.groupby(["layer", power], sort=False)[column]
    found = groups.agg(mean="mean", spread=lambda values: values.std(ddof=0), types="size").reset_index()
    least = 2.0 ** found["power"]
    found = found.assign(
        frequency=np.sqrt(least * (2 * least - 1)),
        least=least.astype(int),
        most=(2 * least - 1).astype(int),
        low=found["mean"] - found["spread"],
        high=found["mean"] + found["spread"],
    )
    return found.drop(columns=["power", "spread"]).sort_values(["layer", "frequency"])


def means(title: str, top: float, most: int) -> list[alt.Chart]:
    """Mean of each bin of `by_frequency`, a band of one standard deviation about it."""

    def y(field: str) -> alt.Y:
        return axes.y(field, title, axes.up_to(top), format=".1f")

    base = alt.Chart().encode(x=frequency_x(most, field="frequency:Q"))
    tips = style.tips(least=",", most=",", types=",", mean=".4f", low=".4f", high=".4f")
    blue = {"color": style.HUES[0]}
    return [
        base.mark_area(opacity=0.22, clip=True, **blue).encode(y=y("low:Q"), y2="high:Q"),
        base.mark_line(strokeWidth=1.5, **blue).encode(y=y("mean:Q")),
        base.mark_circle(size=26, opacity=1, **blue).encode(y=y("mean:Q"), tooltip=tips),
    ]


def boxes(base: alt.Chart, y: dict[str, alt.Y], *, width: object) -> list[alt.Chart]:
    """Boxes of quartiles with a median, and whiskers where `y` has `low` (with its other end `high`)."""
    blue, band = style.HUES[0], {"color": style.tint(style.HUES[0], 0.55), "stroke": style.HUES[0]}
    whisker = [base.mark_rule(color=blue).encode(y=y["low"], y2=y["high"])] if "low" in y else []
    box = base.mark_bar(width=width, **band).encode(y=y["q1"], y2="q3:Q")
    middle = base.mark_tick(width=width, thickness=2, color=style.INK).encode(y=y["median"])
    return [*whisker, box, middle]
