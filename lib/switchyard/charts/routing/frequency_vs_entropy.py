"""The chief figure: is a token type routed more surely the more frequent it is, and are some sure enough?"""

from __future__ import annotations

import math

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.charts.routing import landmarks, points
from switchyard.charts.routing.layers import Charted, Figure, by_layer
from switchyard.charts.routing.token_types import TokenTypes, title_of

WIDEST, HIGHEST = 860, 420
"""Pixels of one layer's view at most."""


def frequency_vs_entropy(types: TokenTypes) -> Figure:
    """Mean entropy over frequency, a point per token type, the eligible region shaded; rho over layers above."""
    marks = points.merged(types.rows, "frequency", "mean_entropy")
    words = {
        layer: f"{title_of(layer)}: {rho_words(types, layer)}\n{types.eligible_words(layer)}"
        for layer in types.layers
    }
    limits = types.thresholds
    return by_layer(
        types.layers,
        lambda charted, width: _view(charted, width, types, marks),
        words=words,
        strip=lambda x: _rho(types, x),
        strip_title="Spearman's ρ of frequency and mean entropy, with 95 % interval, layer by layer",
        title="Frequency and routing entropy of token types",
        subtitle=[
            f"Green: eligible for the fast path, seen at least {limits['frequency_threshold']:,} times and mean "
            f"entropy below {limits['entropy_threshold']:g} nats. Marks: {points.most_in_a_mark(marks)}.",
        ],
        columns=3,
    )


def rho_words(types: TokenTypes, layer: str) -> str:
    """Spearman's rho with interval and p-value, or why there is none."""
    one = types.found[layer]
    if one["spearman_rho"] is None:
        return f"ρ is undefined ({one['undefined']['spearman_rho']})"
    low, high = one["spearman_low"], one["spearman_high"]
    interval = "" if low is None else f" [{low:.2f}, {high:.2f}]"
    p = one["spearman_p"]
    words = f"ρ = {one['spearman_rho']:.2f}{interval}, p " + (f"= {p:.2g}" if p >= 1e-12 else "< 1e-12")
    return words.replace("-", "−")


def _view(charted: Charted, width: int, types: TokenTypes, marks: pd.DataFrame) -> alt.LayerChart:
    x = points.frequency_x(types.most_frequent)
    y = points.value_y("mean entropy (nats)", types.top)
    bound = [] if types.most_entropy is None else _bound(types, y["scale"])
    layers = [*_region(types, x, y), *_edges(types, x, y), *bound, *points.drawn_points(charted, marks, x, y)]
    width = min(width, WIDEST)
    return alt.layer(*layers).properties(width=width, height=min(max(round(0.62 * width), 240), HIGHEST))


def region(types: TokenTypes) -> pd.DataFrame:
    """Where eligible types lie: frequencies from `low` to the end of the axis, entropies from 0 to `high`."""
    start, end = points.frequency_x(types.most_frequent)["scale"]["domain"]
    least = max(types.thresholds["frequency_threshold"], start)
    return pd.DataFrame(
        {"from": [least], "to": [end], "bottom": [0.0], "high": [types.thresholds["entropy_threshold"]]}
    )


def _region(types: TokenTypes, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    shade = alt.Chart(region(types)).mark_rect(
        color=points.ELIGIBLE,
        opacity=0.16,
        stroke=points.ELIGIBLE,
        strokeDash=[4, 3],
        strokeWidth=1.2,
        strokeOpacity=1,
    )
    box = {"x": alt.X("from:Q", scale=x["scale"], axis=x["axis"]), "x2": "to:Q"}
    return [shade.encode(**box, y=alt.Y("bottom:Q", scale=y["scale"], axis=y["axis"]), y2="high:Q")]


def _edges(types: TokenTypes, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """What the two inner edges of the region are; under the marks, so as to hide none."""
    limits = types.thresholds
    place = region(types).assign(
        frequency=f"frequency ≥ {limits['frequency_threshold']:,}",
        entropy=f"below {limits['entropy_threshold']:g} nats",
    )
    base = alt.Chart(place)
    right, up = alt.X("to:Q", scale=x["scale"]), alt.Y("high:Q", scale=y["scale"])
    left, down = alt.X("from:Q", scale=x["scale"]), alt.Y("bottom:Q", scale=y["scale"])
    look = {"fontSize": 10, "color": style.INK}
    least = base.mark_text(align="left", baseline="bottom", dx=4, dy=-2, **look)
    below = base.mark_text(align="right", baseline="top", dx=-4, dy=3, **look)
    return [least.encode(x=left, y=down, text="frequency:N"), below.encode(x=right, y=up, text="entropy:N")]


def _bound(types: TokenTypes, scale: alt.Scale) -> list[alt.Chart]:
    experts = round(math.exp(types.most_entropy))
    words = f"ln {experts} = {types.most_entropy:.2f}: all experts alike"
    return landmarks.across(types.most_entropy, words, scale)


def _rho(types: TokenTypes, x: alt.X) -> list[alt.Chart]:
    frame = types.measures(rho="spearman_rho", low="spearman_low", high="spearman_high")
    scale = alt.Scale(domain=[-1, 1], nice=False)
    axis = {"title": "ρ", "format": "+.1f", "values": [-1, -0.5, 0, 0.5, 1]}
    limit = types.thresholds["spearman_rho_below"]
    tips = [
        alt.Tooltip("layer:N"),
        *(alt.Tooltip(f"{name}:Q", format="+.3f") for name in ("rho", "low", "high")),
    ]
    base = alt.Chart(frame)
    bars = base.mark_rule(strokeWidth=1.6, color=style.HUES[0]).encode(
        x=x, y=alt.Y("low:Q", scale=scale, axis=axis), y2="high:Q"
    )
    dots = base.mark_circle(size=42, opacity=1, color=style.HUES[0]).encode(
        x=x, y=alt.Y("rho:Q", scale=scale, axis=axis), tooltip=tips
    )
    return [
        *landmarks.across(limit, f"criterion: below {limit:g}".replace("-", "−"), scale, above=False),
        bars,
        dots,
    ]
