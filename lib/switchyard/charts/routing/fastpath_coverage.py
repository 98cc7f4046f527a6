"""How much of the text the fast path would take, which of its conditions fails, what other thresholds would give."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.routing import bins, landmarks, points
from switchyard.charts.routing.fast_path import PARTS, coverages, over_ranks, parts, sensitivity
from switchyard.charts.routing.layers import Charted, Figure, Part, by_layer
from switchyard.charts.routing.token_types import TokenTypes, percent, title_of

HEIGHT = 150
GAP = 76
HUES = (points.ELIGIBLE, style.HUES[5], style.HUES[4], "#c9c9c9")
"""Colours of `fast_path.PARTS`."""
LINES = {
    "fast_path_coverage": ("coverage of occurrences", style.HUES[0], "fast_path_coverage_above"),
    "low_entropy_fraction": ("types of low entropy", style.HUES[1], "low_entropy_fraction_at_least"),
}


def fastpath_coverage(types: TokenTypes) -> Figure:
    """Eligible and other tokens, coverages, sensitivity to thresholds, curve over ranks; coverage over layers above."""
    tables = parts(types), coverages(types), sensitivity(types), over_ranks(types)
    draws = (_parts, _coverages, _sensitivity, _curve)

    def view(charted: Charted, width: int) -> Part:
        views = [draw(charted, frame, types) for draw, frame in zip(draws, tables, strict=True)]
        return {**bins.row(views, width, HEIGHT, GAP), "resolve": {"scale": {"color": "independent"}}}

    limits = types.thresholds
    return by_layer(
        types.layers,
        view,
        words={layer: f"{title_of(layer)}: {types.eligible_words(layer)}" for layer in types.layers},
        strip=lambda x: _strip(types, x),
        strip_title="share of occurrences on the fast path, and share of token types of low entropy, layer by layer, "
        "each with its criterion",
        title="Coverage of the fast path",
        subtitle=[
            f"Eligible: seen at least {limits['frequency_threshold']:,} times and mean entropy below "
            f"{limits['entropy_threshold']:g} nats (outlined in the heatmap). The hypothesis wants more than "
            f"{percent(limits['fast_path_coverage_above'])} of the occurrences (dashed).",
        ],
    )


def _parts(charted: Charted, frame: pd.DataFrame, types: TokenTypes) -> alt.LayerChart:
    colour = alt.Color(
        "part:N",
        scale=alt.Scale(domain=list(PARTS), range=list(HUES)),
        legend=alt.Legend(title=None, orient="bottom", columns=2, symbolType="square", offset=4),
    )
    tips = [
        alt.Tooltip("of:N"),
        alt.Tooltip("part:N"),
        alt.Tooltip("number:Q", format=","),
        alt.Tooltip("share:Q", format=".2%"),
    ]
    bars = (
        charted(frame)
        .mark_bar(size=38, stroke="white", strokeWidth=0.6)
        .encode(
            x=_share_x("share:Q", "share"),
            y=alt.Y("of:N", sort=["token types", "occurrences"], axis={"title": None, "grid": False}),
            color=colour,
            order="order:Q",
            tooltip=tips,
        )
    )
    return alt.layer(bars)


def _coverages(charted: Charted, frame: pd.DataFrame, types: TokenTypes) -> alt.LayerChart:
    limit = types.thresholds["fast_path_coverage_above"]
    x = _share_x("share:Q", "share of occurrences")
    y = alt.Y("name:N", sort=list(dict.fromkeys(frame["name"])), axis={"title": None, "grid": False})
    base = charted(frame).encode(
        x=x, y=y, tooltip=[alt.Tooltip("name:N"), alt.Tooltip("share:Q", format=".2%")]
    )
    hue = alt.condition(
        "datum.name == 'fast path'", alt.value(points.ELIGIBLE), alt.value(style.tint(style.HUES[0], 0.35))
    )
    inside = "datum.share > 0.8"
    words = [
        base.transform_filter(f"{test}({inside})")
        .mark_text(fontSize=11, align=align, dx=dx, color=colour)
        .encode(text=alt.Text("share:Q", format=".1%"))
        for test, align, dx, colour in (("", "right", -4, "white"), ("!", "left", 4, style.INK))
    ]
    halo = base.transform_filter(f"!({inside})").mark_text(
        fontSize=11, align="left", dx=4, stroke="white", strokeWidth=3
    )
    line = landmarks.upright(limit, "", axes.share_scale())
    return alt.layer(
        base.mark_bar(size=20).encode(color=hue),
        *line,
        halo.encode(text=alt.Text("share:Q", format=".1%")),
        *words,
    )


def _sensitivity(charted: Charted, frame: pd.DataFrame, types: TokenTypes) -> alt.LayerChart:
    plain = {"labelAngle": 0, "grid": False, "labelOverlap": False}
    x = alt.X("frequency:O", axis=dict(title="frequency at least", format="~g", **plain))
    y = alt.Y("entropy:O", sort="descending", axis=dict(title="entropy below (nats)", format="~g", **plain))
    tips = [
        alt.Tooltip("frequency:Q", title="frequency at least"),
        alt.Tooltip("entropy:Q", title="entropy below"),
        alt.Tooltip("coverage:Q", format=".2%"),
    ]
    base = charted(frame).encode(x=x, y=y, tooltip=tips)
    colour = alt.Color(
        "coverage:Q", scale=alt.Scale(domain=[0, 1], range=["#f7f7f7", style.HUES[0]]), legend=None
    )
    words = base.mark_text(fontSize=9).encode(
        text=alt.Text("coverage:Q", format=".0%"),
        color=alt.condition("datum.coverage > 0.6", alt.value("white"), alt.value(style.INK)),
    )
    own = base.transform_filter("datum.own == 1").mark_rect(
        fillOpacity=0, stroke=style.WORSE, strokeWidth=2.4
    )
    return alt.layer(base.mark_rect(stroke="white", strokeWidth=0.5).encode(color=colour), words, own)


def _curve(charted: Charted, frame: pd.DataFrame, types: TokenTypes) -> alt.LayerChart:
    most = max((one["token_types"] for one in types.found.values()), default=1)
    x = points.log_x(max(most, 2), "types by frequency (rank, log)", field="rank:Q")
    layers = []
    hues = {"all": style.HUES[0], "eligible": points.ELIGIBLE}
    for column, hue in hues.items():
        y = alt.Y(
            f"{column}:Q",
            scale=axes.share_scale(),
            axis={"title": "share of occurrences", "format": ".0%", "tickCount": 5},
        )
        tips = [alt.Tooltip("rank:Q", format=","), alt.Tooltip(f"{column}:Q", format=".2%")]
        layers.append(charted(frame).mark_line(color=hue, strokeWidth=2).encode(x=x, y=y, tooltip=tips))
    limit = types.thresholds["fast_path_coverage_above"]
    key = landmarks.key([(f"{name} types", hue) for name, hue in hues.items()])
    return alt.layer(*layers, *key, *landmarks.across(limit, percent(limit), axes.share_scale()))


def _share_x(field: str, title: str) -> alt.X:
    return alt.X(field, scale=axes.share_scale(), axis={"title": title, "format": ".0%", "tickCount": 5})


def _strip(types: TokenTypes, x: alt.X) -> list[alt.Chart]:
    frame = types.measures(**{name: name for name in LINES})
    layers = []
    for column, (name, hue, criterion) in LINES.items():
        y = alt.Y(
            f"{column}:Q",
            scale=axes.share_scale(),
            axis={"title": "share", "format": ".0%", "values": [0, 0.5, 1]},
        )
        tips = [alt.Tooltip("layer:N"), alt.Tooltip(f"{column}:Q", title=name, format=".2%")]
        limit = alt.Chart(pd.DataFrame({"at": [types.thresholds[criterion]]}))
        layers.append(
            limit.mark_rule(strokeDash=[5, 3], strokeWidth=1.2, color=hue).encode(
                y=alt.Y("at:Q", scale=axes.share_scale())
            )
        )
        line = alt.Chart(frame).mark_line(
            color=hue, point=alt.OverlayMarkDef(color=hue, size=36, opacity=0.9)
        )
        layers.append(line.encode(x=x, y=y, tooltip=tips))
    return [*layers, *landmarks.key([(name, hue) for name, hue, _ in LINES.values()])]
