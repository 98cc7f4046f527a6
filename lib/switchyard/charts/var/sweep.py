"""Where VAR begins to act: loss over coverage and over cost, and what coverage saves, beside rules without a table."""

from __future__ import annotations

from itertools import cycle

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.marks import named
from switchyard.charts.save import Figure

GAP, HEIGHT = 64, 330
LINEAR = 0.01
"""Nats per token below which the loss axis is about linear."""
TICKS = (-1, -0.3, -0.1, -0.03, -0.01, 0, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)
STATIC, NO_KEY = "static top-k", "the layer's most used experts"
STORED, LIVE, OWN = "as stored", "of the model's router", "no table"
WEIGHTS = {"table": STORED, "live": LIVE}
SHAPES = {STORED: "circle", LIVE: "triangle-up", OWN: "square"}
DASHES = {STORED: [1, 0], LIVE: [5, 3], OWN: [1, 0]}
NUMBERS = {"quantile": ".2~g", "frequency_threshold": ",d"}
NUMBERS |= dict.fromkeys(("entropy_threshold", "confidence_threshold"), ".3f")
NUMBERS |= {"coverage": ".1%", "mean_experts": ".2f", "flops_ratio": ".1%"}
NUMBERS |= dict.fromkeys(("loss_difference", "loss_low", "loss_high"), "+.4f") | {"p_holm": ".3g"}
"""Columns in the tooltips."""


def var_sweep(sweep: pd.DataFrame) -> Figure:
    """Three views of the rows of `sweep.parquet`, each series in its colour and each kind of weights in its shape."""
    frame = series(sweep)
    title = style.heading(
        "Where VAR begins to act",
        [
            "Loss minus the untouched model's, paired by sample, with 95 % interval, on an axis that is linear about",
            "zero, logarithmic beyond; above the dashed zero is worse. Lines join the thresholds of one setting in",
            "the order of what they cover. Squares: static top-k, run on the same samples. Operations are the matrix",
            "products per token.",
        ],
    )
    return Figure(*(_figure(frame, title, width) for width in (style.WIDTH, style.PAGE)))


def _figure(frame: pd.DataFrame, title: alt.TitleParams, width: int) -> alt.TopLevelMixin:
    """The views beside each other, or two above one where they are narrow."""
    across = 3 if width == style.WIDTH else 2
    cost = axes.x("flops_ratio:Q", "operations per token, share of the untouched model's", format=".0%")
    covered = axes.x("coverage:Q", "coverage: tokens that are looked up", format=".0%")
    saved = axes.y("flops_ratio:Q", "operations per token, share", format=".0%")
    looked_up, hue = frame[frame["what"] != STATIC], _hues(frame)
    views = {
        "quality against coverage": _losses(looked_up, covered, hue),
        "quality against cost": _losses(frame, cost, hue, labelled=True),
        "cost against coverage": alt.layer(*_marks(covered, saved, hue), data=looked_up),
    }
    size = {"width": style.each(across, gap=GAP, width=width), "height": HEIGHT}
    charts = [view.properties(title=style.small_title(name), **size) for name, view in views.items()]
    return style.dress(alt.concat(*charts, columns=across, spacing=20, title=title), legends="bottom")


def series(sweep: pd.DataFrame) -> pd.DataFrame:
    """The rows but the untouched model's, with `what` (a series), `weights` and `label`, as readers see them."""
    frame = sweep[sweep["kind"] != "untouched"].copy()
    static = frame["kind"] == "static"
    frame["what"] = [_what(row) for row in frame.itertuples()]
    frame["weights"] = frame["route_weights"].map(WEIGHTS).where(~static, OWN)
    frame["label"] = ("top-" + frame["mean_experts"].round().astype("Int64").astype(str)).where(static, "")
    frame["place"] = frame["coverage"].where(~static, frame["mean_experts"])
    return frame[["what", "weights", "label", "place", *NUMBERS, "verdict"]].reset_index(drop=True)


def _what(row: object) -> str:
    if row.kind == "fast_path":
        number = row.fast_path_experts
        return f"table, {int(number)} expert{'s' if number > 1 else ''}"
    if row.kind == "cache":
        window = int(row.context_window_size)
        return f"cache, keys of {window + 1} token{'s' if window else ''}"
    return STATIC if row.kind == "static" else NO_KEY


def _hues(frame: pd.DataFrame) -> alt.Color:
    """One colour for each series, those of the rules without a table quiet."""
    hues, fixed = cycle(style.HUES), {STATIC: style.INK, NO_KEY: style.GREY}
    names = {name: fixed.get(name) or next(hues) for name in dict.fromkeys(frame["what"])}
    return alt.Color("what:N", scale=named(names), legend=alt.Legend(title="experts from", symbolOpacity=1))


def _losses(frame: pd.DataFrame, x: alt.X, hue: alt.Color, *, labelled: bool = False) -> alt.LayerChart:
    scale = alt.Scale(type="symlog", constant=LINEAR, nice=False, padding=14)

    def y(field: str) -> alt.Y:
        ticks = {"values": TICKS, "tickCount": len(TICKS), "format": "+.2~g"}
        return axes.y(field, "loss − untouched (nats per token)", scale, **ticks)

    bars = alt.Chart().mark_rule(strokeWidth=1.2, opacity=0.6)
    names = alt.Chart().mark_text(align="left", dx=6, dy=-8, fontSize=10, color=style.INK)
    layers = [
        style.line(y=0),
        bars.encode(x=x, y=y("loss_low:Q"), y2="loss_high:Q", color=hue),
        *_marks(x, y("loss_difference:Q"), hue),
        *([names.encode(x=x, y=y("loss_difference:Q"), text="label:N")] if labelled else []),
    ]
    return alt.layer(*layers, data=frame)


def _marks(x: alt.X, y: alt.Y, hue: alt.Color) -> list[alt.Chart]:
    """A line along each series and its points."""
    base = alt.Chart().encode(x=x, y=y, color=hue)
    legend = alt.Legend(title="weights", symbolStrokeColor=style.INK, symbolFillColor=style.INK)
    lines = base.transform_filter(f'datum.what != "{NO_KEY}"').mark_line(strokeWidth=1.3)
    points = base.mark_point(size=46, filled=True, opacity=1)
    dash = alt.StrokeDash("weights:N", scale=named(DASHES), legend=legend)
    shape = alt.Shape("weights:N", scale=named(SHAPES), legend=legend)
    tips = style.tips("what", "weights", "verdict", **NUMBERS)
    return [lines.encode(strokeDash=dash, order="place:Q"), points.encode(shape=shape, tooltip=tips)]
