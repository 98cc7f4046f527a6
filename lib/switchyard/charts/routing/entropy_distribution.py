"""How surely token types are routed: the distribution of their mean entropies, whole and by frequency."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.routing import bins, landmarks, points
from switchyard.charts.routing.layers import Charted, Figure, Part, by_layer
from switchyard.charts.routing.token_types import TokenTypes, percent, title_of

HEIGHT = 170
GAP = 58
STEPS = 80
"""Places at which a cumulative distribution is drawn."""
RANGES = (1, 10, 100, 1000, 10_000)
"""First frequency of each range of the boxes; the last range has no end."""
CURVES = {"types": ("token types", style.HUES[0]), "occurrences": ("occurrences", style.HUES[1])}
QUANTILES = {"p5": 0.05, "q1": 0.25, "median": 0.5, "q3": 0.75, "p95": 0.95}


def entropy_distribution(types: TokenTypes) -> Figure:
    """Histogram, cumulative distribution, mean by frequency bin, boxes by frequency range; quartiles over layers."""
    limit = types.thresholds["entropy_threshold"]
    bars = bins.histogram(types, "mean_entropy", bins.edges(types.top, through=limit))
    curves, means, boxes = cumulative(types), bins.by_frequency(types, "mean_entropy"), ranges(types)

    def view(charted: Charted, width: int) -> Part:
        views = [
            _histogram(charted, bars, types),
            _cumulative(charted, curves, types),
            _means(charted, means, types),
            _boxes(charted, boxes, types),
        ]
        return bins.row(views, width, HEIGHT, GAP)

    return by_layer(
        types.layers,
        view,
        words={layer: f"{title_of(layer)}: {_words(types, layer)}" for layer in types.layers},
        strip=lambda x: _quartiles(types, x),
        strip_title="mean entropy of token types in nats, layer by layer: range, quartiles and median",
        title="Routing entropy of token types",
        subtitle=[
            f"The dashed line is the study's threshold of {limit:g} nats; green lies below it. Of the occurrences each "
            "counts with its type's mean entropy.",
            "Band: one standard deviation over types. Boxes: quartiles and median, whiskers 5 to 95 % of the types.",
        ],
    )


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
    """Columns `layer, entropy, types, occurrences`: shares with a mean entropy below `entropy`."""
    places = np.union1d(np.linspace(0, types.top, STEPS), types.thresholds["entropy_threshold"])
    parts = []
    for layer, own in types.rows.sort_values("mean_entropy").groupby("layer", sort=False):
        below = np.searchsorted(own["mean_entropy"], places, side="left")
        uses = np.concatenate([[0], own["frequency"].cumsum()])
        shares = {"types": below / len(own), "occurrences": uses[below] / uses[-1]}
        parts.append(pd.DataFrame({"layer": layer, "entropy": places, **shares}))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["layer", "entropy", *CURVES])


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


def _histogram(charted: Charted, frame: pd.DataFrame, types: TokenTypes) -> alt.LayerChart:
    limit = types.thresholds["entropy_threshold"]
    scale = alt.Scale(domain=[0, types.top], nice=False)
    own = bins.bars(charted, frame, "mean entropy (nats)", types.top, style.HUES[0], below=limit)
    return alt.layer(own, *landmarks.upright(limit, f"{limit:g}", scale))


def _cumulative(charted: Charted, frame: pd.DataFrame, types: TokenTypes) -> alt.LayerChart:
    x_scale = alt.Scale(domain=[0, types.top], nice=False)
    x = alt.X(
        "entropy:Q", scale=x_scale, axis={"title": "mean entropy (nats)", "format": ".1f", "tickCount": 5}
    )
    layers = []
    for column, (name, hue) in CURVES.items():
        axis = {"title": "share below", "format": ".0%", "tickCount": 5}
        y = alt.Y(f"{column}:Q", scale=axes.share_scale(), axis=axis)
        tips = [
            alt.Tooltip("entropy:Q", format=".2f"),
            alt.Tooltip(f"{column}:Q", title=f"{name} below", format=".2%"),
        ]
        layers.append(charted(frame).mark_line(color=hue, strokeWidth=1.6).encode(x=x, y=y, tooltip=tips))
    limit = types.thresholds["entropy_threshold"]
    key = landmarks.key(list(CURVES.values()), bottom=HEIGHT)
    return alt.layer(*layers, *landmarks.upright(limit, f"{limit:g}", x_scale), *key)


def _means(charted: Charted, frame: pd.DataFrame, types: TokenTypes) -> alt.LayerChart:
    layers = bins.means(charted, frame, "mean entropy (nats)", types.top, types.most_frequent)
    return alt.layer(*layers, *_threshold(types, f"{types.thresholds['entropy_threshold']:g}"))


def _boxes(charted: Charted, frame: pd.DataFrame, types: TokenTypes) -> alt.LayerChart:
    names = [name for name in range_names() if name in set(frame["range"])]
    axis = {"title": "frequency", "labelAngle": 0, "grid": False, "labelOverlap": False, "labelFontSize": 10}
    x = alt.X("range:N", scale=alt.Scale(domain=names or range_names()[:1]), axis=axis)
    title = "mean entropy (nats)"
    tips = [
        alt.Tooltip("range:N", title="frequency"),
        alt.Tooltip("types:Q", title="token types", format=","),
        *(alt.Tooltip(f"{name}:Q", format=".3f") for name in QUANTILES),
    ]
    base = charted(frame).encode(x=x, tooltip=tips)

    def y(field: str) -> alt.Y:
        return points.value_y(title, types.top, field=f"{field}:Q")

    whisker = base.mark_rule(color=style.HUES[0]).encode(y=y("p5"), y2="p95:Q")
    box = base.mark_bar(
        color=style.tint(style.HUES[0], 0.55), stroke=style.HUES[0], width={"band": 0.55}
    ).encode(y=y("q1"), y2="q3:Q")
    middle = base.mark_tick(color=style.INK, thickness=2, width={"band": 0.55}).encode(y=y("median"))
    number = base.mark_text(fontSize=9, baseline="top", color=style.QUIET).encode(
        y=alt.value(3), text=alt.Text("types:Q", format=",")
    )
    return alt.layer(whisker, box, middle, number, *_threshold(types, ""))


def _threshold(types: TokenTypes, words: str) -> list[alt.Chart]:
    limit = types.thresholds["entropy_threshold"]
    return landmarks.across(limit, words, alt.Scale(domain=[0, types.top], nice=False))


def _quartiles(types: TokenTypes, x: alt.X) -> list[alt.Chart]:
    rows = [
        {"layer": layer, "min": one["entropy"]["min"], "max": one["entropy"]["max"]}
        | dict(zip(("q1", "median", "q3"), one["entropy"]["quartiles"]))
        for layer, one in types.found.items()
        if one["token_types"]
    ]
    frame = pd.DataFrame(rows, columns=["layer", "min", "q1", "median", "q3", "max"])
    tips = [alt.Tooltip(f"{name}:Q", format=".3f") for name in frame.columns[1:]]
    base = alt.Chart(frame).encode(x=x, tooltip=[alt.Tooltip("layer:N"), *tips])

    def y(field: str) -> alt.Y:
        return points.value_y("nats", types.top, field=f"{field}:Q")

    line = base.mark_rule(color=style.HUES[0]).encode(y=y("min"), y2="max:Q")
    box = base.mark_bar(size=12, color=style.tint(style.HUES[0], 0.55), stroke=style.HUES[0]).encode(
        y=y("q1"), y2="q3:Q"
    )
    middle = base.mark_tick(size=12, thickness=2, color=style.INK).encode(y=y("median"))
    return [line, box, middle, *_threshold(types, "")]
