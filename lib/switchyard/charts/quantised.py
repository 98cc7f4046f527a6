"""What quantising does to routing: tokens with other experts by layer, and what it costs in loss."""

from __future__ import annotations

from itertools import cycle

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.charts.marks import named

WIDTH, HEIGHT = 230, 170
"""Pixels of one view."""


def quantised_routing(routing: pd.DataFrame, losses: pd.DataFrame) -> alt.TopLevelMixin:
    """Columns are base models; above the tokens whose experts change, by layer, below the loss, by dataset.

    Args:
        routing: `model, base, dataset, layer, changed_share, low, high, kept_share, logit_error, experts, rest`.
        losses: `model, base, dataset, loss_difference, low, high, verdict, first_choice_changed, experts, rest`.
    """
    routing, losses = (frame.assign(format=_formats(frame)) for frame in (routing, losses))
    formats = sorted(set(routing["format"]))
    color = alt.Color(
        "format:N", title="quantised", scale=named(dict(zip(formats, cycle(style.HUES), strict=False)))
    )
    bases = list(dict.fromkeys(routing["base"]))
    upper = [_changed(_of(routing, base), color).properties(title=style.small_title(base)) for base in bases]
    lower = [_loss(_of(losses, base), color) for base in bases]
    title = alt.TitleParams(
        "What quantising does to routing",
        subtitle=[
            "Above: share of tokens whose trained top-k experts differ from those with full weights, by layer,",
            "with 95 % intervals over samples. Below: loss minus the loss with full weights, paired by sample;",
            "a filled mark is distinguishable from zero (Holm's correction over a model, 0.05).",
        ],
    )
    rows = [alt.hconcat(*views, spacing=24) for views in (upper, lower)]
    return style.dress(alt.vconcat(*rows, spacing=18, title=title))


def _formats(frame: pd.DataFrame) -> list[str]:
    named = zip(frame["experts"], frame["rest"], strict=True)
    return [experts if rest == "none" else f"{experts}, rest {rest}" for experts, rest in named]


def _of(frame: pd.DataFrame, base: str) -> pd.DataFrame:
    own = frame[frame["base"] == base]
    return own.assign(dataset=own["dataset"].map(style.dataset_title))


def _changed(frame: pd.DataFrame, color: alt.Color) -> alt.LayerChart:
    x = alt.X("layer:O", title="layer", axis=alt.Axis(labelAngle=0))
    y = alt.Y("changed_share:Q", title="tokens with other experts", axis=alt.Axis(format=".0%"))
    tips = [alt.Tooltip(name) for name in ("dataset:N", "format:N", "layer:O")]
    tips += [
        alt.Tooltip(f"{name}:Q", format=".3f") for name in ("changed_share", "kept_share", "logit_error")
    ]
    look = {"symbolStrokeColor": style.INK, "symbolStrokeWidth": 1.4, "symbolSize": 300, "symbolOpacity": 1}
    legend = alt.Legend(symbolType="stroke", symbolFillColor="transparent", **look)
    dash = alt.StrokeDash("dataset:N", title="dataset", legend=legend)
    lines = alt.Chart(frame).mark_line(strokeWidth=1.4)
    dots = alt.Chart(frame).mark_point(size=18, filled=True, opacity=1)
    spread = alt.Chart(frame).mark_rule(strokeWidth=1)
    layers = (
        lines.encode(x=x, y=y, color=color, strokeDash=dash),
        dots.encode(x=x, y=y, color=color, tooltip=tips),
        spread.encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=color),
    )
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)


def _loss(frame: pd.DataFrame, color: alt.Color) -> alt.LayerChart:
    y = alt.Y("dataset:N", title=None)
    offset = alt.YOffset("format:N")
    difference = alt.X("loss_difference:Q", title="difference in loss, nats per token")
    tips = [alt.Tooltip(name) for name in ("dataset:N", "format:N", "verdict:N")]
    tips += [alt.Tooltip(f"{name}:Q", format=".4f") for name in ("loss_difference", "low", "high")]
    tips.append(alt.Tooltip("first_choice_changed:Q", format=".2%", title="other first choice"))
    fill = alt.condition("datum.verdict == 'not distinguishable'", alt.value("white"), color)
    points = alt.Chart(frame).mark_point(size=42, filled=True, strokeWidth=1.4)
    spread = alt.Chart(frame).mark_rule(strokeWidth=1.2)
    zero = alt.Chart(pd.DataFrame({"at": [0.0]})).mark_rule(strokeDash=[4, 3], color=style.INK)
    return alt.layer(
        zero.encode(x="at:Q"),
        spread.encode(x=alt.X("low:Q"), x2="high:Q", y=y, yOffset=offset, color=color),
        points.encode(x=difference, y=y, yOffset=offset, stroke=color, fill=fill, tooltip=tips),
    ).properties(width=WIDTH, height=150)
