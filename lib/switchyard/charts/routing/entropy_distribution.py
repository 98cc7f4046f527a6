"""How surely token types are routed: the distribution of their mean entropies, whole and by frequency."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.marks import named
from switchyard.charts.routing import bins, landmarks, points
from switchyard.charts.routing.layers import View, Words, by_layer
from switchyard.charts.routing.token_types import TokenTypes, percent, title_of
from switchyard.charts.save import Figure

HEIGHT, GAP = 170, 58
STEPS = 80
"""Places at which a cumulative distribution is drawn."""
RANGES = (1, 10, 100, 1000, 10_000)
"""First frequency of each range of the boxes; the last range has no end."""
CURVES = ("token types", "occurrences")
QUANTILES = {"p5": 0.05, "q1": 0.25, "median": 0.5, "q3": 0.75, "p95": 0.95}
NAME = "mean entropy (nats)"


def entropy_distribution(types: TokenTypes) -> Figure:
    """Histogram, cumulative distribution, mean by frequency bin, boxes by frequency range; quartiles over layers."""
    limit, most = types.thresholds["entropy_threshold"], types.most_frequent
    bars = bins.histogram(types, "mean_entropy", bins.edges(types.top, through=limit))
    upright, across, boxes = (
        landmarks.upright(limit, f"{limit:g}"),
        landmarks.across(limit, f"{limit:g}"),
        ranges(types),
    )
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


def cumulative(types: TokenTypes) -> pd.DataFrame:
    """Columns `layer, entropy, of, below`: shares of CURVES with a mean entropy below `entropy`."""
    places = np.union1d(np.linspace(0, types.top, STEPS), types.thresholds["entropy_threshold"])
    parts = []
    for layer, own in types.rows.sort_values("mean_entropy").groupby("layer", sort=False):
        below = np.searchsorted(own["mean_entropy"], places, side="left")
        uses = np.concatenate([[0], own["frequency"].cumsum()])
        for name, shares in zip(CURVES, (below / len(own), uses[below] / uses[-1]), strict=True):
            parts.append(pd.DataFrame({"layer": layer, "entropy": places, "of": name, "below": shares}))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["layer", "entropy", "of", "below"])


def ranges(types: TokenTypes) -> pd.DataFrame:
    """Columns `layer, range, place, types` and quantiles of the mean entropy, by range of the frequency."""
    place = pd.Series(np.searchsorted(RANGES, types.rows["frequency"], side="right") - 1, name="place")
    groups = types.rows.groupby(["layer", place], sort=False)["mean_entropy"]
    found = groups.size().rename("types").to_frame()
    for name, share in QUANTILES.items():
        found[name] = groups.quantile(share)
    found = found.reset_index()
    return found.assign(range=found["place"].map(dict(enumerate(range_names()))))


def range_names() -> list[str]:
    """How the axis calls the ranges."""
    bounded = [f"{low:,}–{high - 1:,}" for low, high in zip(RANGES, RANGES[1:])]
    return [*bounded[:3], "1k–10k", "≥ 10k"]


def _curves(types: TokenTypes) -> alt.Chart:
    hues = alt.Color(
        "of:N",
        scale=named(dict(zip(CURVES, style.HUES, strict=False))),
        legend=alt.Legend(title=None, orient="bottom"),
    )
    return (
        alt.Chart()
        .mark_line(strokeWidth=1.6)
        .encode(
            x=axes.x("entropy:Q", NAME, axes.up_to(types.top), format=".1f"),
            y=axes.y("below:Q", "share below", axes.SHARES, format=".0%"),
            color=hues,
            tooltip=style.tips("of", entropy=".2f", below=".2%"),
        )
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
    base = alt.Chart(frame).encode(
        x=x, tooltip=style.tips("layer", **dict.fromkeys(frame.columns[1:], ".3f"))
    )
    y = {name: points.value_y("nats", types.top, field=f"{name}:Q") for name in frame.columns[1:]}
    boxes = bins.boxes(base, {**y, "low": y["min"], "high": "max:Q"}, width=12)
    return [*boxes, *landmarks.across(types.thresholds["entropy_threshold"])]
