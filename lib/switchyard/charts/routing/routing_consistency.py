"""Does a token type go to the same expert each time? The share of its most frequent top expert."""

from __future__ import annotations

import math

import altair as alt

from switchyard.charts import axes, style
from switchyard.charts.marks import named
from switchyard.charts.routing import bins, landmarks, points
from switchyard.charts.routing.layers import View, Words, by_layer
from switchyard.charts.routing.token_types import TokenTypes, percent, title_of
from switchyard.charts.save import Figure

HEIGHT, GAP = 180, 58
NAME = "consistency"
TOP = 1.04
"""Upper end of an axis, so that marks at 1 are whole."""
LINES = {"mean_consistency": "all types", "top_1000_consistency": "most frequent types"}


def routing_consistency(types: TokenTypes) -> Figure:
    """Consistency over frequency, its distribution, over entropy and by frequency bin; means over layers above."""
    over_frequency = points.merged(types.rows, "frequency", "routing_consistency", views=2)
    over_entropy = points.merged(types.rows, "mean_entropy", "routing_consistency", views=2)
    limit, most, y = types.thresholds["entropy_threshold"], types.most_frequent, points.value_y(NAME, TOP)
    frequency = points.frequency_x(most)
    entropy = axes.x("x:Q", "mean entropy (nats)", axes.up_to(types.top), format=".1f")
    near = [*points.drawn_points(over_entropy, entropy, y), *_even(types)]
    views = [
        View([*points.drawn_points(over_frequency, frequency, y), *_even(types)], over_frequency),
        View([bins.bars(NAME, 1.0)], bins.histogram(types, "routing_consistency", bins.edges(1.0))),
        View([*near, *landmarks.upright(limit, f"{limit:g}", top=False)], over_entropy),
        View([*bins.means(NAME, TOP, most), *_even(types)], bins.by_frequency(types, "routing_consistency")),
    ]
    even = "" if types.most_entropy is None else " Dashed: what even routing would give in the long run."
    words = Words(
        "Routing consistency of token types",
        [
            "Share of a type's occurrences whose most probable expert is its most frequent one. A type seen once has "
            f"1, whatever the router does.{even}",
            f"Green: eligible for the fast path. Marks: {points.most_in_a_mark(over_frequency)}. Band: one standard "
            "deviation over types.",
        ],
        {layer: f"{title_of(layer)}: {_words(types, layer)}" for layer in types.layers},
        "mean consistency of token types, layer by layer: "
        f"all, and the {types.thresholds['top_types']:,} most frequent",
    )
    return by_layer(words, views, lambda x: _means(types, x), height=HEIGHT, gap=GAP)


def _words(types: TokenTypes, layer: str) -> str:
    one = types.found[layer]
    if not one["token_types"]:
        return "no token type is usable"
    return (
        f"mean {percent(one['mean_consistency'])} over {one['token_types']:,} types, "
        f"{percent(one['top_1000_consistency'])} over the {one['top_types']:,} most frequent; "
        f"{types.eligible_words(layer)}"
    )


def _even(types: TokenTypes) -> list[alt.Chart]:
    if types.most_entropy is None:
        return []
    experts = round(math.exp(types.most_entropy))
    return landmarks.across(1 / experts, f"1/{experts}")


def _means(types: TokenTypes, x: alt.X) -> list[alt.Chart]:
    frame = types.measures(**{name: name for name in LINES}).rename(columns=LINES)
    frame = frame.melt("layer", var_name="of", value_name="consistency")
    y = axes.y("consistency:Q", NAME, axes.up_to(TOP), format=".1f", values=[0, 0.5, 1])
    colour = alt.Color("of:N", scale=named(dict(zip(LINES.values(), style.HUES, strict=False))), title=None)
    line = alt.Chart(frame).mark_line(point=alt.OverlayMarkDef(size=36))
    tips = style.tips("layer", "of", consistency=".3f")
    return [line.encode(x=x, y=y, color=colour, tooltip=tips), *_even(types)]
