"""Does a token type go to the same expert each time? The share of its most frequent top expert."""

from __future__ import annotations

import math

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.charts.routing import bins, landmarks, points
from switchyard.charts.routing.layers import Charted, Figure, Part, by_layer
from switchyard.charts.routing.token_types import TokenTypes, percent, title_of

HEIGHT = 180
GAP = 58
NAME = "consistency"
TOP = 1.04
"""Upper end of an axis, so that marks at 1 are whole."""
LINES = {
    "mean_consistency": ("all types", style.HUES[0]),
    "top_1000_consistency": ("most frequent types", style.HUES[1]),
}


def routing_consistency(types: TokenTypes) -> Figure:
    """Consistency over frequency, its distribution, over entropy and by frequency bin; means over layers above."""
    over_frequency = points.merged(types.rows, "frequency", "routing_consistency", views=2)
    over_entropy = points.merged(types.rows, "mean_entropy", "routing_consistency", views=2)
    bars = bins.histogram(types, "routing_consistency", bins.edges(1.0))
    means = bins.by_frequency(types, "routing_consistency")

    def view(charted: Charted, width: int) -> Part:
        frequency = points.frequency_x(types.most_frequent)
        entropy = alt.X(
            "x:Q",
            scale=alt.Scale(domain=[0, types.top], nice=False),
            axis={"title": "mean entropy (nats)", "format": ".1f", "tickCount": 5},
        )
        limit = types.thresholds["entropy_threshold"]
        views = [
            _points(charted, over_frequency, frequency, types),
            alt.layer(bins.bars(charted, bars, NAME, 1.0, style.HUES[0])),
            alt.layer(
                _points(charted, over_entropy, entropy, types),
                *landmarks.upright(limit, f"{limit:g}", entropy["scale"], top=False),
            ),
            alt.layer(*bins.means(charted, means, NAME, TOP, types.most_frequent), *_even(types)),
        ]
        return bins.row(views, width, HEIGHT, GAP)

    even = "" if types.most_entropy is None else " Dashed: what even routing would give in the long run."
    return by_layer(
        types.layers,
        view,
        words={layer: f"{title_of(layer)}: {_words(types, layer)}" for layer in types.layers},
        strip=lambda x: _means(types, x),
        strip_title="mean consistency of token types, layer by layer: "
        f"all, and the {types.thresholds['top_types']:,} most frequent",
        title="Routing consistency of token types",
        subtitle=[
            "Share of a type's occurrences whose most probable expert is its most frequent one. A type seen once has "
            f"1, whatever the router does.{even}",
            f"Green: eligible for the fast path. Marks: {points.most_in_a_mark(over_frequency)}. Band: one standard "
            "deviation over types.",
        ],
    )


def _words(types: TokenTypes, layer: str) -> str:
    one = types.found[layer]
    if not one["token_types"]:
        return "no token type is usable"
    return (
        f"mean {percent(one['mean_consistency'])} over {one['token_types']:,} types, "
        f"{percent(one['top_1000_consistency'])} over the {one['top_types']:,} most frequent; "
        f"{types.eligible_words(layer)}"
    )


def _points(charted: Charted, marks: pd.DataFrame, x: alt.X, types: TokenTypes) -> alt.LayerChart:
    y = points.value_y(NAME, TOP)
    return alt.layer(*points.drawn_points(charted, marks, x, y), *_even(types))


def _even(types: TokenTypes) -> list[alt.Chart]:
    if types.most_entropy is None:
        return []
    experts = round(math.exp(types.most_entropy))
    return landmarks.across(1 / experts, f"1/{experts}", alt.Scale(domain=[0, TOP], nice=False))


def _means(types: TokenTypes, x: alt.X) -> list[alt.Chart]:
    frame = types.measures(**{name: name for name in LINES})
    layers = []
    for column, (name, hue) in LINES.items():
        y = alt.Y(
            f"{column}:Q",
            scale=alt.Scale(domain=[0, TOP], nice=False),
            axis={"title": NAME, "format": ".1f", "values": [0, 0.5, 1]},
        )
        tips = [alt.Tooltip("layer:N"), alt.Tooltip(f"{column}:Q", title=name, format=".3f")]
        line = alt.Chart(frame).mark_line(color=hue, point=alt.OverlayMarkDef(color=hue, size=36))
        layers.append(line.encode(x=x, y=y, tooltip=tips))
    return [*layers, *landmarks.key(list(LINES.values())), *_even(types)]
