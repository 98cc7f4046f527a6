"""How much of the text the fast path would take, which of its conditions fails, what other thresholds would give."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.marks import named
from switchyard.charts.routing import landmarks, points
from switchyard.charts.routing.fast_path import PARTS, coverages, over_ranks, parts, sensitivity
from switchyard.charts.routing.layers import View, Words, by_layer
from switchyard.charts.routing.threshold_map import threshold_map
from switchyard.charts.routing.token_types import TokenTypes, percent, title_of
from switchyard.charts.save import Figure

HEIGHT, GAP = 150, 76
HUES = dict(zip(PARTS, (points.ELIGIBLE, style.HUES[5], style.HUES[4], "#c9c9c9"), strict=True))
CURVES = {"all": style.HUES[0], "eligible": points.ELIGIBLE}
LINES = {
    "fast_path_coverage": ("coverage of occurrences", "fast_path_coverage_above"),
    "low_entropy_fraction": ("types of low entropy", "low_entropy_fraction_at_least"),
}
BELOW = {"orient": "bottom", "columns": 2, "symbolType": "square", "offset": 4, "title": None}


def fastpath_coverage(types: TokenTypes) -> Figure:
    """Eligible and other tokens, coverages, sensitivity to thresholds, curve over ranks; coverage over layers above."""
    limits, shares = types.thresholds, coverages(types)
    views = [
        View([_parts()], parts(types)),
        View(_coverages(shares, limits["fast_path_coverage_above"]), shares),
        View(threshold_map(), sensitivity(types)),
        View(_curves(types), over_ranks(types)),
    ]
    words = Words(
        "Coverage of the fast path",
        [
            f"Eligible: seen at least {limits['frequency_threshold']:,} times and mean entropy below "
            f"{limits['entropy_threshold']:g} nats (outlined in the heatmap). The hypothesis wants more than "
            f"{percent(limits['fast_path_coverage_above'])} of the occurrences (dashed).",
        ],
        {layer: f"{title_of(layer)}: {types.eligible_words(layer)}" for layer in types.layers},
        "share of occurrences on the fast path, and share of token types of low entropy, layer by layer, each with its "
        "criterion",
    )
    return by_layer(words, views, lambda x: _strip(types, x), height=HEIGHT, gap=GAP)


def _parts() -> alt.Chart:
    bars = alt.Chart().mark_bar(size=38, stroke="white", strokeWidth=0.6)
    return bars.encode(
        x=axes.x("share:Q", "share", axes.SHARES, format=".0%"),
        y=alt.Y(**axes.words("of", ["token types", "occurrences"])),
        color=alt.Color("part:N", scale=named(HUES), legend=alt.Legend(**BELOW)),
        order="order:Q",
        tooltip=style.tips("of", "part", number=",", share=".2%"),
    )


def _coverages(frame: pd.DataFrame, limit: float) -> list[alt.Chart]:
    base = alt.Chart().encode(
        x=axes.x("share:Q", "share of occurrences", axes.SHARES, format=".0%"),
        y=alt.Y(**axes.words("name", list(dict.fromkeys(frame["name"])))),
        tooltip=style.tips("name", share=".2%"),
    )
    plain = alt.value(style.tint(style.HUES[0], 0.35))
    bars = base.mark_bar(size=20).encode(
        color=alt.condition("datum.name == 'fast path'", alt.value(points.ELIGIBLE), plain)
    )
    text = alt.Text("share:Q", format=".1%")
    outside, inside = (
        base.transform_filter(f"datum.share {sign} 0.8").encode(text=text) for sign in ("<=", ">")
    )
    beside = {"fontSize": 11, "align": "left", "dx": 4}
    return [
        bars,
        *landmarks.upright(limit),
        outside.mark_text(stroke="white", strokeWidth=3, **beside),
        outside.mark_text(color=style.INK, **beside),
        inside.mark_text(fontSize=11, align="right", dx=-4, color="white"),
    ]


def _curves(types: TokenTypes) -> list[alt.Chart]:
    most = max((one["token_types"] for one in types.found.values()), default=1)
    lines = (
        alt.Chart()
        .mark_line(strokeWidth=2)
        .encode(
            x=points.frequency_x(max(most, 2), field="rank:Q", title="types by frequency (rank, log)"),
            y=axes.y("share:Q", "share of occurrences", axes.SHARES, format=".0%"),
            color=alt.Color(
                "of:N",
                scale=named(CURVES),
                legend=alt.Legend(**{**BELOW, "title": "types", "symbolType": "stroke"}),
            ),
            tooltip=style.tips("of", rank=",", share=".2%"),
        )
    )
    limit = types.thresholds["fast_path_coverage_above"]
    return [lines, *landmarks.across(limit, percent(limit))]


def _strip(types: TokenTypes, x: alt.X) -> list[alt.Chart]:
    names = {column: name for column, (name, _) in LINES.items()}
    frame = types.measures(**{column: column for column in LINES}).rename(columns=names)
    frame = frame.melt("layer", var_name="of", value_name="share")
    criteria = pd.DataFrame(
        [{"of": name, "share": types.thresholds[criterion]} for name, criterion in LINES.values()]
    )
    hues = alt.Color("of:N", scale=named(dict(zip(names.values(), style.HUES, strict=False))), title=None)
    y = axes.y("share:Q", "share", axes.SHARES, format=".0%", values=[0, 0.5, 1])
    line = alt.Chart(frame).mark_line(point=alt.OverlayMarkDef(size=36, opacity=0.9))
    return [
        alt.Chart(criteria).mark_rule(**style.DASH).encode(y=y, color=hues),
        line.encode(x=x, y=y, color=hues, tooltip=style.tips("layer", "of", share=".2%")),
    ]
