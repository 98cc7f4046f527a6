"""All evaluated points, speed over degradation, with the frontier, the limit, and the study's own configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.charts.marks import named
from switchyard.charts.routing.layers import WIDTH, heading
from switchyard.charts.search.trajectory import GAIN, HUES, ORDER, UNTOUCHED

GAP = 70
HEIGHT = 330
LINEAR = 0.005
"""Degradation below which its axis is about linear."""
TICKS = (-0.1, -0.01, 0, 0.005, 0.01, 0.03, 0.1, 0.3, 1, 3)
MANUAL = "manual"
SHAPES = {"bayesian": "circle", "random": "triangle-up", "grid": "square", MANUAL: "cross"}


def search_frontier(
    rows: Mapping[str, pd.DataFrame], manual: Mapping[str, Any], limit: float
) -> alt.HConcatChart:
    """One view per space; `manual` are the configurations of `summary.json`, drawn beside the spaces of VAR."""
    frame = points(rows)
    spaces = list(dict.fromkeys(frame["space"]))
    title = heading(
        "Speed against loss of all evaluated points",
        [
            f"Left of the dashed line a point loses at most {limit:.2%} of perplexity. The line joins the points that "
            "no other beats in speed without losing more.",
            "Loss is on an axis that is linear about zero and logarithmic beyond. Crosses: the study's own "
            "configurations, set by hand.",
        ],
    )
    width = (WIDTH - GAP * len(spaces)) // max(len(spaces), 2)
    own = {space: own_points(manual) if space != "bh" else None for space in spaces}
    views = [_view(frame[frame["space"] == space], own[space], space, limit, width) for space in spaces]
    return style.dress(alt.hconcat(*views, spacing=24, title=title))


def points(rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Columns `method, space, seed, number, degradation, speed, acting_share, gain` of the points that did not fail."""
    kept = [one[one["objective"].notna()].assign(method=method) for method, one in rows.items()]
    columns = ["method", "space", "seed", "number", "degradation", "speed", "acting_share"]
    found = pd.concat(kept)[columns].reset_index(drop=True)
    return found.assign(gain=found["speed"] - UNTOUCHED)


def own_points(manual: Mapping[str, Any]) -> pd.DataFrame:
    """Columns `method, name, degradation, speed, gain` of the study's own configurations on the tuning text."""
    found = [
        {"method": MANUAL, "name": name, **{key: one["tuning"][key] for key in ("degradation", "speed")}}
        for name, one in manual.items()
    ]
    table = pd.DataFrame(found, columns=["method", "name", "degradation", "speed"])
    return table.assign(gain=table["speed"] - UNTOUCHED)


def frontier(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that no other beats in speed without losing more, from the least loss upwards."""
    ordered = frame.sort_values(["degradation", "speed"], ascending=[True, False], kind="stable")
    before = ordered["speed"].cummax().shift(fill_value=-float("inf"))
    return ordered[ordered["speed"] > before]


def _view(
    frame: pd.DataFrame, manual: pd.DataFrame | None, space: str, limit: float, width: int
) -> alt.LayerChart:
    every = frame if manual is None else pd.concat([frame, manual])
    present = [name for name in (*ORDER, MANUAL) if name in set(every["method"])]
    hues = {**HUES, MANUAL: style.INK}
    legend = alt.Legend(title="method", orient="bottom")
    hue, shape = (
        channel("method:N", scale=named({name: values[name] for name in present}), legend=legend)
        for channel, values in ((alt.Color, hues), (alt.Shape, SHAPES))
    )
    low, high = min(every["degradation"].min(), 0.0), max(every["degradation"].max(), limit)
    domain = [low * 1.2 - LINEAR / 5, high * 1.2]
    scale = alt.Scale(type="symlog", constant=LINEAR, domain=domain, nice=False)
    ticks = [one for one in TICKS if domain[0] <= one <= domain[1]]
    x = alt.X(
        "degradation:Q",
        scale=scale,
        axis=alt.Axis(title="change of perplexity", values=ticks, format="+.2~%"),
    )
    y = alt.Y("gain:Q", scale=alt.Scale(zero=False), axis=GAIN)
    numbers = {"degradation": "+.3%", "gain": "+.3%"}
    tips = style.tips("method", seed="d", number="d", **numbers, acting_share=".1%")
    layers = [
        alt.Chart().mark_rule(strokeDash=[5, 3], color=style.QUIET).encode(x=alt.datum(limit)),
        alt.Chart(frontier(frame))
        .mark_line(interpolate="step-after", strokeWidth=1.4, color=style.INK)
        .encode(x=x, y=y),
        alt.Chart(frame)
        .mark_point(size=46, filled=True, opacity=0.65)
        .encode(x=x, y=y, color=hue, shape=shape, tooltip=tips),
    ]
    if manual is not None and len(manual):
        marks = alt.Chart(manual).encode(x=x, y=y)
        layers.append(
            marks.mark_point(size=90, filled=True, opacity=1).encode(
                color=hue, shape=shape, tooltip=style.tips("name", **numbers)
            )
        )
    return alt.layer(*layers, data=frame).properties(
        width=width, height=HEIGHT, title=style.small_title(f"space: {space}")
    )
