"""How a forward's time grows, what the rules gain or lose on it, and how many experts a step touches."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.charts.profile.rules import GAP, HEIGHT, hues, log_x, log_y, phases, tips
from switchyard.charts.routing.layers import WIDTH, heading
from switchyard.profiling.names import UNTOUCHED
from switchyard.profiling.points import PREFILL

TIPS = {"rule": "", "batch": "d", "length": "d", "cache_length": "d", "role": ""}


def profile_scaling(scaling: pd.DataFrame) -> alt.VConcatChart:
    """Two rows of two phases and one on distinct experts, from the rows of `scaling.csv`."""
    frame = scaling.assign(tokens=scaling["batch"] * scaling["length"])
    hue = hues(frame["rule"])
    title = heading(
        "How time grows, and what the rules gain",
        [
            "Above: median time of a forward over its tokens (prefill) or its sequences (decoding), a mark for each "
            "length, batch and cache. Middle: speed-up over the untouched model in the same rounds,",
            "with 95 % intervals; above the dashed line is faster. Below: distinct experts of a block that a forward "
            "touched; the lines are what uniform choices of as many experts would touch.",
        ],
    )
    rows = [
        alt.hconcat(*(draw(frame[frame["phase"] == one], one, hue) for one in phases(frame)), spacing=GAP)
        for draw in (_times, _speedups, _distinct)
    ]
    return style.dress(alt.vconcat(*rows, spacing=26, title=title))


def _x(frame: pd.DataFrame, phase: str) -> alt.X:
    name = "tokens of a forward (log)" if phase == PREFILL else "sequences of a forward (log)"
    return log_x("tokens:Q", frame["tokens"], name)


def _sized(chart: alt.TopLevelMixin, title: str) -> alt.TopLevelMixin:
    return chart.properties(width=(WIDTH - 3 * GAP) // 2, height=HEIGHT, title=style.small_title(title))


def _times(frame: pd.DataFrame, phase: str, hue: alt.Color) -> alt.Chart:
    points = alt.Chart(frame).mark_point(size=42, filled=True, opacity=0.75)
    chart = points.encode(
        x=_x(frame, phase),
        y=log_y("median_ms:Q", frame["median_ms"], "milliseconds (log)"),
        color=hue,
        tooltip=tips(**TIPS, median_ms=".3f", predicted_ms=".3f", tokens_per_second=",.0f"),
    )
    return _sized(chart, f"{phase}: time")


def _speedups(frame: pd.DataFrame, phase: str, hue: alt.Color) -> alt.LayerChart:
    own = frame[frame["rule"] != UNTOUCHED]
    bounds = pd.concat([own["speedup_low"], own["speedup_high"], own["speedup"], pd.Series([1.0])]).dropna()
    y = log_y("speedup:Q", bounds, "times the untouched model's speed (log)")
    y.axis = alt.Axis(title="times the untouched model's speed (log)", format=".2~f", tickCount=5)
    low = y.copy()
    low.shorthand = "speedup_low:Q"
    base = alt.Chart(own).encode(x=_x(frame, phase), color=hue)
    line = alt.Chart(pd.DataFrame({"at": [1.0]})).mark_rule(strokeDash=[5, 3], color=style.QUIET)
    equal = y.copy()
    equal.shorthand = "at:Q"
    bars = base.mark_rule(strokeWidth=1, opacity=0.5).encode(y=low, y2="speedup_high:Q")
    marks = base.mark_point(size=42, filled=True, opacity=0.85).encode(
        y=y, tooltip=tips(**TIPS, speedup=".3f", speedup_low=".3f", speedup_high=".3f")
    )
    return _sized(alt.layer(line.encode(y=equal), bars, marks), f"{phase}: speed-up")


def _distinct(frame: pd.DataFrame, phase: str, hue: alt.Color) -> alt.LayerChart:
    base = alt.Chart(frame).encode(x=_x(frame, phase), color=hue)
    axis = {"title": "distinct experts of a block", "tickCount": 5}
    points = base.mark_point(size=42, filled=True, opacity=0.75).encode(
        y=alt.Y("distinct:Q", axis=axis),
        tooltip=tips(**TIPS, experts=".2f", distinct=".2f", expected_distinct=".2f"),
    )
    lines = base.mark_line(strokeWidth=1, opacity=0.7).encode(y=alt.Y("mean(expected_distinct):Q", axis=axis))
    return _sized(alt.layer(lines, points), f"{phase}: experts touched")
