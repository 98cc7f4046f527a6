"""Where VAR begins to act: loss over coverage and over cost, and what coverage saves, beside rules without a table."""

from __future__ import annotations

from itertools import cycle

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.routing.layers import WIDTH, heading

GAP = 64
HEIGHT = 330
LINEAR = 0.01
"""Nats per token below which the loss axis is about linear."""
TICKS = (-1, -0.3, -0.1, -0.03, -0.01, 0, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)
STATIC, NO_KEY = "static top-k", "the layer's most used experts"
STORED, LIVE, OWN = "as stored", "of the model's router", "no table"
WEIGHTS = {"table": STORED, "live": LIVE}
SHAPES = alt.Scale(domain=[STORED, LIVE, OWN], range=["circle", "triangle-up", "square"])
DASHES = alt.Scale(domain=[STORED, LIVE, OWN], range=[[1, 0], [5, 3], [1, 0]])


def var_sweep(sweep: pd.DataFrame) -> alt.HConcatChart:
    """Three views of the rows of `sweep.parquet`, each series in its colour and each kind of weights in its shape."""
    frame = series(sweep)
    hue = _hues(frame)
    cost = alt.X(
        "flops_ratio:Q",
        scale=_padded(frame["flops_ratio"]),
        axis=_share_axis("operations per token, share of the untouched model's"),
    )
    covered = alt.X(
        "coverage:Q",
        scale=_padded(pd.Series([0.0, 1.0])),
        axis=_share_axis("coverage: tokens that are looked up"),
    )
    saved = alt.Y(
        "flops_ratio:Q", scale=_padded(frame["flops_ratio"]), axis=_share_axis("operations per token, share")
    )
    looked_up = frame[frame["what"] != STATIC]
    title = heading(
        "Where VAR begins to act",
        [
            "Loss minus the untouched model's, paired by sample, with 95 % interval, on an axis that is linear about "
            "zero and logarithmic beyond; above the dashed zero is worse.",
            "Lines join the thresholds of one setting in the order of what they cover. Squares: static top-k, run on "
            "the same samples. Operations are the matrix products per token.",
        ],
    )
    views = [
        _losses(looked_up, covered, hue).properties(title=style.small_title("quality against coverage")),
        _losses(frame, cost, hue, labelled=True).properties(title=style.small_title("quality against cost")),
        _marks(looked_up, covered, saved, hue).properties(title=style.small_title("cost against coverage")),
    ]
    width = (WIDTH - 2 * GAP - 40) // 3
    return style.dress(
        alt.hconcat(*(view.properties(width=width, height=HEIGHT) for view in views), spacing=20, title=title)
    )


def series(sweep: pd.DataFrame) -> pd.DataFrame:
    """The rows but the untouched model's, with `what` (a series), `weights` and `label`, as readers see them."""
    frame = sweep[sweep["kind"] != "untouched"].copy()
    frame["what"] = [_what(row) for row in frame.itertuples()]
    frame["weights"] = frame["route_weights"].map(WEIGHTS).where(frame["kind"] != "static", OWN)
    frame["label"] = [
        f"top-{round(row.mean_experts)}" if row.kind == "static" else "" for row in frame.itertuples()
    ]
    frame["place"] = frame["coverage"].where(frame["kind"] != "static", frame["mean_experts"])
    kept = ["what", "weights", "label", "quantile", "frequency_threshold", "entropy_threshold"]
    kept += ["place", "confidence_threshold", "coverage", "flops_ratio", "mean_experts"]
    return frame[[*kept, "loss_difference", "loss_low", "loss_high", "p_holm", "verdict"]].reset_index(
        drop=True
    )


def _what(row: object) -> str:
    if row.kind == "fast_path":
        return f"table, {_experts(row.fast_path_experts)}"
    if row.kind == "cache":
        return (
            f"cache, keys of {int(row.context_window_size) + 1} token{'s' if row.context_window_size else ''}"
        )
    return STATIC if row.kind == "static" else NO_KEY


def _experts(number: float) -> str:
    return f"{int(number)} expert{'s' if number > 1 else ''}"


def _hues(frame: pd.DataFrame) -> alt.Color:
    """One colour for each series, those of the rules without a table quiet."""
    names = list(dict.fromkeys(frame["what"]))
    hues = cycle(style.HUES)
    fixed = {STATIC: style.INK, NO_KEY: style.GREY}
    scale = alt.Scale(domain=names, range=[fixed.get(name) or next(hues) for name in names])
    return alt.Color(
        "what:N", scale=scale, legend=alt.Legend(title="experts from", orient="bottom", columns=6)
    )


def _padded(values: pd.Series) -> alt.Scale:
    margin = 1.5 * axes.MARGIN * max(values.max() - values.min(), 0.05)
    return alt.Scale(domain=[values.min() - margin, values.max() + margin], nice=False)


def _share_axis(title: str) -> dict[str, object]:
    return {"title": title, "format": ".0%", "tickCount": 5}


def _losses(frame: pd.DataFrame, x: alt.X, hue: alt.Color, *, labelled: bool = False) -> alt.LayerChart:
    low = min(0.0, frame[["loss_low", "loss_difference"]].min().min())
    high = max(0.0, frame[["loss_high", "loss_difference"]].max().max())
    scale = alt.Scale(
        type="symlog", constant=LINEAR, domain=[low * 1.3 - LINEAR / 2, high * 1.3 + LINEAR / 2], nice=False
    )
    axis = alt.Axis(
        title="loss − untouched (nats per token)",
        values=[one for one in TICKS if low * 1.3 - LINEAR / 2 <= one <= high * 1.3 + LINEAR / 2],
        format="+.2~g",
    )
    y = alt.Y("loss_difference:Q", scale=scale, axis=axis)
    zero = alt.Chart(pd.DataFrame({"at": [0.0]})).mark_rule(strokeDash=[5, 3], color=style.QUIET)
    bars = (
        alt.Chart(frame)
        .mark_rule(strokeWidth=1.2, opacity=0.6)
        .encode(x=x, y=alt.Y("loss_low:Q", scale=scale, axis=axis), y2="loss_high:Q", color=hue)
    )
    names = (
        alt.Chart(frame[frame["label"] != ""])
        .mark_text(align="left", dx=6, dy=-8, fontSize=10, color=style.INK)
        .encode(x=x, y=y, text="label:N")
    )
    layers = [zero.encode(y=alt.Y("at:Q", scale=scale, axis=axis)), bars, _marks(frame, x, y, hue)]
    return alt.layer(*layers, *([names] if labelled else []))


def _marks(frame: pd.DataFrame, x: alt.X, y: alt.Y, hue: alt.Color) -> alt.LayerChart:
    """A line along each series and its points."""
    base, joined = (
        alt.Chart(rows).encode(x=x, y=y, color=hue) for rows in (frame, frame[frame["what"] != NO_KEY])
    )
    legend = alt.Legend(title="weights", orient="bottom", symbolStrokeColor=style.INK)
    lines = joined.mark_line(strokeWidth=1.3).encode(
        strokeDash=alt.StrokeDash("weights:N", scale=DASHES, legend=legend), order="place:Q"
    )
    points = base.mark_point(size=46, filled=True, opacity=1).encode(
        shape=alt.Shape("weights:N", scale=SHAPES, legend=legend),
        tooltip=_tips(),
    )
    return alt.layer(lines, points)


def _tips() -> list[alt.Tooltip]:
    numbers = {
        "quantile": ".2~g",
        "frequency_threshold": ",d",
        "entropy_threshold": ".3f",
        "confidence_threshold": ".3f",
        "coverage": ".1%",
        "mean_experts": ".2f",
        "flops_ratio": ".1%",
        "loss_difference": "+.4f",
        "loss_low": "+.4f",
        "loss_high": "+.4f",
        "p_holm": ".3g",
    }
    return [
        alt.Tooltip("what:N"),
        alt.Tooltip("weights:N"),
        *(
            alt.Tooltip(f"{name}:Q", title=name.replace("_", " "), format=form)
            for name, form in numbers.items()
        ),
        alt.Tooltip("verdict:N"),
    ]
