"""The chief figure: is a token type routed more surely the more frequent it is, and are some sure enough?"""

from __future__ import annotations

import math

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.routing import landmarks, points
from switchyard.charts.routing.layers import View, Words, by_layer
from switchyard.charts.routing.token_types import TokenTypes, title_of
from switchyard.charts.save import Figure

HEIGHT, GAP = 360, 64


def frequency_vs_entropy(types: TokenTypes) -> Figure:
    """Mean entropy over frequency, a point per token type, the eligible region shaded; rho over layers above."""
    marks = points.merged(types.rows, "frequency", "mean_entropy")
    limits = types.thresholds
    said = {
        one: f"{title_of(one)}: {rho_words(types, one)}; {types.eligible_words(one)}" for one in types.layers
    }
    words = Words(
        "Frequency and routing entropy of token types",
        [
            f"Green: eligible for the fast path, seen at least {limits['frequency_threshold']:,} times and mean "
            f"entropy below {limits['entropy_threshold']:g} nats. Marks: {points.most_in_a_mark(marks)}.",
        ],
        said,
        "Spearman's ρ of frequency and mean entropy, with 95 % interval, layer by layer",
    )
    view = View(_marks(types, marks), marks)
    return by_layer(words, [view], lambda x: _rho(types, x), height=HEIGHT, gap=GAP)


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


def region(types: TokenTypes) -> pd.DataFrame:
    """Where eligible types lie: frequencies from `from` to the end of the axis, entropies from 0 to `high`."""
    start, end = points.frequency_x(types.most_frequent)["scale"]["domain"]
    least = max(types.thresholds["frequency_threshold"], start)
    return pd.DataFrame(
        {"from": [least], "to": [end], "bottom": [0.0], "high": [types.thresholds["entropy_threshold"]]}
    )


def _marks(types: TokenTypes, marks: pd.DataFrame) -> list[alt.Chart]:
    x, y = points.frequency_x(types.most_frequent), points.value_y("mean entropy (nats)", types.top)
    bound = []
    if types.most_entropy is not None:
        words = f"ln {round(math.exp(types.most_entropy))} = {types.most_entropy:.2f}: all experts alike"
        bound = landmarks.across(types.most_entropy, words)
    return [*_region(types), *bound, *points.drawn_points(marks, x, y)]


def _region(types: TokenTypes) -> list[alt.Chart]:
    """The region with what its two inner edges are; under the marks, so as to hide none."""
    base, limits = alt.Chart(region(types)), types.thresholds
    look = {"stroke": points.ELIGIBLE, "strokeDash": [4, 3], "strokeWidth": 1.2, "strokeOpacity": 1}
    shade = base.mark_rect(color=points.ELIGIBLE, opacity=0.16, **look)
    frequency, entropy = (
        f"frequency ≥ {limits['frequency_threshold']:,}",
        f"below {limits['entropy_threshold']:g} nats",
    )
    least = base.mark_text(text=frequency, align="left", baseline="bottom", dx=4, dy=-2, **landmarks.SAID)
    below = base.mark_text(text=entropy, align="right", baseline="top", dx=-4, dy=3, **landmarks.SAID)
    return [
        shade.encode(x="from:Q", x2="to:Q", y="bottom:Q", y2="high:Q"),
        least.encode(x="from:Q", y="bottom:Q"),
        below.encode(x="to:Q", y="high:Q"),
    ]


def _rho(types: TokenTypes, x: alt.X) -> list[alt.Chart]:
    def y(field: str) -> alt.Y:
        return axes.y(
            field, "ρ", alt.Scale(domain=[-1, 1], nice=False), format="+.1f", values=[-1, -0.5, 0, 0.5, 1]
        )

    frame = types.measures(rho="spearman_rho", low="spearman_low", high="spearman_high")
    limit = types.thresholds["spearman_rho_below"]
    base = alt.Chart(frame).encode(x=x)
    tips = style.tips("layer", rho="+.3f", low="+.3f", high="+.3f")
    return [
        *landmarks.across(limit, f"criterion: below {limit:g}".replace("-", "−"), above=False),
        base.mark_rule(strokeWidth=1.6, color=style.HUES[0]).encode(y=y("low:Q"), y2="high:Q"),
        base.mark_circle(size=42, opacity=1, color=style.HUES[0]).encode(y=y("rho:Q"), tooltip=tips),
    ]
