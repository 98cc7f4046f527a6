"""Which dimension matters: partial dependence of speed and degradation on each, with the process's own uncertainty."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.routing.layers import WIDTH, heading
from switchyard.charts.search.trajectory import UNTOUCHED

PER_ROW = 4
GAP = 66
HEIGHT = 130
FORM = "+.3~%"
MEASURES = {"speed": "speed-up − 1", "degradation": "change of perplexity"}
HUES = {"speed": style.HUES[0], "degradation": style.HUES[1]}


def search_sensitivity(table: pd.DataFrame) -> alt.VConcatChart:
    """A view per space, measure and dimension; rows are those of `sensitivity.parquet`."""
    title = heading(
        "What speed and quality depend on",
        [
            "Mean of a Gaussian process of all evaluated points over the other dimensions, at values of one dimension. "
            "Bands are 1.96 standard deviations of that mean.",
            "Views of one space and measure share their vertical axis, so that a flat line is a dimension that does "
            "not matter. Far from evaluated points the band is wide.",
        ],
    )
    blocks = [
        _block(own, space, column) for (space, column), own in table.groupby(["space", "column"], sort=False)
    ]
    return style.dress(alt.vconcat(*blocks, spacing=30, title=title).resolve_scale(y="independent"))


def banded(own: pd.DataFrame) -> pd.DataFrame:
    """The rows with `low` and `high`, the ends of the band; speeds minus that of the untouched model."""
    reach, mean = 1.96 * own["std"], own["mean"] - UNTOUCHED * own["column"].eq("speed").astype(float)
    return own.assign(mean=mean, low=mean - reach, high=mean + reach)


def _block(own: pd.DataFrame, space: str, column: str) -> alt.VConcatChart:
    frame = banded(own)
    low, high = frame["low"].min(), frame["high"].max()
    margin = max(axes.MARGIN * (high - low), 1e-5)
    scale = alt.Scale(domain=[low - margin, high + margin], nice=False)
    names = list(dict.fromkeys(frame["dimension"]))
    width = (WIDTH - GAP * PER_ROW) // PER_ROW
    views = [_view(frame[frame["dimension"] == name], name, HUES[column], scale, width) for name in names]
    rows = [views[start : start + PER_ROW] for start in range(0, len(views), PER_ROW)]
    title = alt.TitleParams(f"space {space}: {MEASURES[column]}", fontSize=12, anchor="start", offset=4)
    return alt.vconcat(*(alt.hconcat(*row, spacing=18) for row in rows), spacing=14, title=title)


def _view(frame: pd.DataFrame, name: str, hue: str, scale: alt.Scale, width: int) -> alt.LayerChart:
    numbers = pd.to_numeric(frame["value"], errors="coerce")
    is_number = bool(numbers.notna().all())
    data = frame.assign(at=numbers if is_number else frame["value"])
    is_log = is_number and numbers.min() > 0 and numbers.max() / numbers.min() > 15
    axis = (
        {"title": name.replace("_", " "), "tickCount": 4, "format": "~g", "labelOverlap": True}
        if is_number
        else {"title": name}
    )
    x = (
        alt.X("at:Q", scale=alt.Scale(type="log" if is_log else "linear", nice=False, zero=False), axis=axis)
        if is_number
        else alt.X("at:N", axis={"title": name.replace("_", " "), "labelAngle": 0})
    )
    y = _bound("mean", scale)
    tips = [
        alt.Tooltip("value:N", title=name.replace("_", " ")),
        *(alt.Tooltip(f"{key}:Q", format="+.3%") for key in ("mean", "low", "high")),
    ]
    base = alt.Chart(data).encode(x=x)
    if not is_number:
        bars = base.mark_rule(strokeWidth=1.8, color=hue).encode(y=_bound("low", scale), y2="high:Q")
        marks = base.mark_point(size=46, filled=True, opacity=1, color=hue).encode(y=y, tooltip=tips)
        return alt.layer(bars, marks).properties(width=width, height=HEIGHT)
    band = base.mark_area(opacity=0.2, color=hue).encode(y=_bound("low", scale), y2="high:Q")
    line = base.mark_line(strokeWidth=1.8, color=hue, point={"size": 14, "color": hue}).encode(
        y=y, tooltip=tips
    )
    return alt.layer(band, line).properties(width=width, height=HEIGHT)


def _bound(name: str, scale: alt.Scale) -> alt.Y:
    return alt.Y(f"{name}:Q", scale=scale, axis={"title": None, "format": FORM, "tickCount": 4})
