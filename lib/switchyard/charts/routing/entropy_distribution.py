"""How surely token types are routed: the distribution of their mean entropies, whole and by frequency."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.marks import named
from switchyard.charts.routing import bins, landmarks, points
from switchyard.charts.routing.entropies import CURVES, QUANTILES, cumulative, range_names, ranges
from switchyard.charts.routing.layers import View, Words, by_layer
from switchyard.charts.routing.token_types import TokenTypes, percent, title_of
from switchyard.charts.save import Figure

HEIGHT, GAP = 170, 58
NAME = "mean entropy (nats)"


def entropy_distribution(types: TokenTypes) -> Figure:
    """Histogram, cumulative distribution, mean by frequency bin, boxes by frequency range; quartiles over layers."""
    limit, most = types.thresholds["entropy_threshold"], types.most_frequent
    bars = bins.histogram(types, "mean_entropy", bins.edges(types.top, through=limit))
    upright, across = (draw(limit, f"{limit:g}") for draw in (landmarks.upright, landmarks.across))
    boxes = ranges(types)
    views = [
        View([bins.bars(NAME, types.top, below=limit), *upright], bars),
        View([_curves(types), *upright], cumulative(types)),
        View([*bins.means(NAME, types.top, most), *across], bins.by_frequency(types, "mean_entropy")),
        View([*_boxes(types, boxes), *landmarks.across(limit)], boxes),
    ]
    words = Words(
        "Routing entropy of token types",
        [
            f"The dashed line is the study's threshold of {limit:g} nats; green lies below it. Of the occurrences each "
            "counts with its type's mean entropy.",
            "Band: one standard deviation over types. Boxes: quartiles and median, whiskers 5 to 95 % of the types.",
        ],
        {layer: f"{title_of(layer)}: {_words(types, layer)}" for layer in types.layers},
        "mean entropy of token types in nats, layer by layer: range, quartiles and median",
    )
    return by_layer(words, views, lambda x: _quartiles(types, x), height=HEIGHT, gap=GAP)


def _words(types: TokenTypes, layer: str) -> str:
    one = types.found[layer]
    if not one["token_types"]:
        return "no token type is usable"
    found = one["entropy"]
    low = int((types.rows["certain"] & (types.rows["layer"] == layer)).sum())
    return (
        f"{low:,} of {one['token_types']:,} token types are below the threshold "
        f"({percent(one['low_entropy_fraction'])}); median {found['quartiles'][1]:.2f}, "
        f"range {found['min']:.2f} to {found['max']:.2f} nats"
    )


def _curves(types: TokenTypes) -> alt.Chart:
    scale = named(dict(zip(CURVES, style.HUES, strict=False)))
    lines = alt.Chart().mark_line(strokeWidth=1.6)
    return lines.encode(
        x=axes.x("entropy:Q", NAME, axes.up_to(types.top), format=".1f"),
        y=axes.y("below:Q", "share below", axes.SHARES, format=".0%"),
        color=alt.Color("of:N", scale=scale, legend=alt.Legend(title=None, orient="bottom")),
        tooltip=style.tips("of", entropy=".2f", below=".2%"),
    )


def _boxes(types: TokenTypes, frame: pd.DataFrame) -> list[alt.Chart]:
    names = [name for name in range_names() if name in set(frame["range"])] or range_names()[:1]
    tips = style.tips("range", types=",", **dict.fromkeys(QUANTILES, ".3f"))
    base = alt.Chart().encode(x=alt.X(**axes.words("range", names, "frequency")), tooltip=tips)
    number = base.mark_text(fontSize=9, baseline="top", color=style.QUIET)
    number = number.encode(y=alt.value(3), text=alt.Text("types:Q", format=","))
    y = {name: points.value_y(NAME, types.top, field=f"{name}:Q") for name in QUANTILES}
    return [*bins.boxes(base, {**y, "low": y["p5"], "high": "p95:Q"}, width={"band": 0.55}), number]


def _quartiles(types: TokenTypes, x: alt.X) -> list[alt.Chart]:
    rows = [
        {"layer": layer, "min": one["entropy"]["min"], "max": one["entropy"]["max"]}
        | dict(zip(("q1", "median", "q3"), one["entropy"]["quartiles"]))
        for layer, one in types.found.items()
        if one["token_types"]
    ]
    frame = pd.DataFrame(rows, columns=["layer", "min", "q1", "median", "q3", "max"])
    tips = style.tips("layer", **dict.fromkeys(frame.columns[1:], ".3f"))
    base = alt.Chart(frame).encode(x=x, tooltip=tips)
    y = {name: points.value_y("nats", types.top, field=f"{name}:Q") for name in frame.columns[1:]}
    boxes = bins.boxes(base, {**y, "low": y["min"], "high": "max:Q"}, width=12)
    return [*boxes, *landmarks.across(types.thresholds["entropy_threshold"])]
