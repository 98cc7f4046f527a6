"""What the previous tokens say about a token's experts beyond its id, and what tables keyed by either would hit.

All layers lie along the axis, so that no reader needs to choose one.
"""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.marks import named
from switchyard.charts.routing import landmarks
from switchyard.charts.routing.context_tables import ceilings, gains, name_of
from switchyard.charts.routing.layers import layers_x
from switchyard.charts.save import Figure
from switchyard.errors import InputError

HEIGHT, GAP = 240, 56
TOP = 1.04
NEEDED = ("layer", "context", "information_gain", "information_gain_held_out", "chance")
PLACES = {
    "in_sample": "in-sample: a table of each domain, scored on itself",
    "leave_one_domain_out": "on other documents: a table of the other domains",
}
ONE_DOMAIN = "only one domain: nothing is left to make a table from"
GAIN = "information gain of context over the token id"


def context_gain(context: pd.DataFrame) -> Figure:
    """Information gain of n previous tokens, and ceilings of tables, over layers; `context` is `context.parquet`.

    Raises:
        InputError: a column is missing.
    """
    columns = [f"{place}_{level}" for place in PLACES for level in ("global", "token", "context")]
    missing = [name for name in (*NEEDED, *columns) if name not in context]
    if missing:
        raise InputError(f"context: no column {', '.join(missing)}; run the observe stage again")
    title = style.heading(
        "What context tells about a token's experts",
        [
            "First: nats per used expert; filled and solid is held out, from other domains' counts; hollow and dashed "
            "is in-sample and biased upwards.",
            "Others: share of the used experts that a table would hit that lists as many experts per key as a token "
            "uses; a key without counts falls back to the coarser one.",
        ],
    )
    return Figure(*(_figure(context, title, width) for width in (style.WIDTH, style.PAGE)))


def _figure(context: pd.DataFrame, title: alt.TitleParams, width: int) -> alt.TopLevelMixin:
    """Three views beside each other, or the gains above the two ceilings where they are narrow."""
    across = 3 if width == style.WIDTH else 2
    views = {GAIN: _gains(context), **{name: _ceilings(context, place) for place, name in PLACES.items()}}
    size = {"width": style.each(across, gap=GAP, width=width), "height": HEIGHT}
    charts = [view.properties(title=style.small_title(name), **size) for name, view in views.items()]
    return style.dress(alt.concat(*charts, columns=across, spacing=22, title=title), legends="bottom")


def _colour(context: pd.DataFrame) -> alt.Color:
    names = ["one list for all", "token id", *map(name_of, sorted(context["context"].unique()))]
    hues = [style.GREY, *style.HUES[:4], style.HUES[6]]
    legend = alt.Legend(title=None, symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1)
    return alt.Color("key:N", scale=named(dict(zip(names, hues, strict=False))), legend=legend)


def _x(context: pd.DataFrame) -> alt.X:
    return layers_x([str(one) for one in sorted(context["layer"].unique())])


def _gains(context: pd.DataFrame) -> alt.LayerChart:
    frame = gains(context)
    base = alt.Chart(frame).encode(
        x=_x(context),
        y=axes.y("gain:Q", "gain (nats)", format=".2~f", tickCount=6),
        color=_colour(context),
        tooltip=style.tips("layer", "key", "measured", gain="+.4f"),
    )
    layers = [style.line(y=0, colour=style.INK)]
    for measured, dash, fill in (
        ("in-sample", [3, 3], {"fill": "white"}),
        ("held out", [1, 0], {"filled": True}),
    ):
        own = base.transform_filter(f"datum.measured == '{measured}'")
        layers += [
            own.mark_line(strokeWidth=1.6, strokeDash=dash),
            own.mark_point(size=36, opacity=1, **fill),
        ]
    notes = [] if (frame["measured"] == "held out").any() else [_said(f"held out: {ONE_DOMAIN}")]
    return alt.layer(*layers, *notes)


def _ceilings(context: pd.DataFrame, place: str) -> alt.LayerChart:
    frame, chance = ceilings(context, place), float(context["chance"].iloc[0])
    base = alt.Chart(frame).encode(
        x=_x(context),
        y=axes.y("share:Q", "share of used experts hit", axes.up_to(TOP), format=".0%", tickCount=6),
        color=_colour(context),
        tooltip=style.tips("layer", "key", share=".1%"),
    )
    line = landmarks.across(chance, f"chance {chance:.1%}", above=False)
    notes = [] if len(frame) else [_said(ONE_DOMAIN)]
    return alt.layer(
        *line, base.mark_line(strokeWidth=1.6), base.mark_point(size=36, filled=True, opacity=1), *notes
    )


def _said(words: str) -> alt.Chart:
    text = style.once().mark_text(text=words, fontSize=11, color=style.QUIET, limit=340)
    return text.encode(x=alt.value({"expr": "width / 2"}), y=alt.value({"expr": "height * 0.75"}))
