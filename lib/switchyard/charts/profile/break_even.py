"""Where a rule begins to pay, by the performance model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.charts.profile.rules import GAP, HEIGHT, hues, log_x, phases
from switchyard.charts.routing.layers import WIDTH, heading
from switchyard.profiling.break_even import BATCH, EXPERTS, LOOKED_UP, LOOKED_UP_HALF
from switchyard.profiling.break_even import WIDTH as WIDER

VARIABLES = (BATCH, WIDER, EXPERTS, LOOKED_UP, LOOKED_UP_HALF)
COLUMNS = 3


def profile_break_even(curves: Sequence[Mapping[str, Any]]) -> alt.VConcatChart:
    """A view for each variable and phase, from `curves` of `performance_model.json`."""
    frame = pd.DataFrame(curves)
    title = heading(
        "Where a rule would pay",
        [
            "Predicted speed-up over the untouched model along one variable, the others as measured at batch 1; above "
            "the dashed line the rule pays. Bands hold nine in ten of the held-out speed-ups.",
            "Dots lie within what was measured; where a line has none it extrapolates by operations and bytes alone.",
        ],
    )
    if frame.empty:
        return style.dress(
            alt.vconcat(style.empty("No rule was profiled beside the untouched model."), title=title)
        )
    hue, blocks = hues(frame["rule"]), []
    for phase in phases(frame):
        own = frame[frame["phase"] == phase]
        views = [
            _view(own[own["variable"] == one], one, phase, hue)
            for one in VARIABLES
            if one in set(own["variable"])
        ]
        blocks += [
            alt.hconcat(*views[start : start + COLUMNS], spacing=GAP // 2)
            for start in range(0, len(views), COLUMNS)
        ]
    return style.dress(alt.vconcat(*blocks, spacing=26, title=title))


def _view(frame: pd.DataFrame, variable: str, phase: str, hue: alt.Color) -> alt.LayerChart:
    if variable in (BATCH, WIDER):
        x = log_x("value:Q", frame["value"], f"{variable} (log)")
    else:
        x = alt.X(
            "value:Q",
            scale=alt.Scale(domain=[0, 1]),
            axis={"title": variable, "format": ".0%", "tickCount": 5},
        )
    bounds = pd.concat([frame["low"], frame["high"], pd.Series([1.0])]).dropna()
    scale = alt.Scale(type="log", domain=[bounds.min() / 1.05, bounds.max() * 1.05], nice=False)
    axis = {"title": "predicted speed-up (log)", "format": ".2~f", "tickCount": 5}
    base = alt.Chart(frame).encode(x=x, color=hue)
    low, y = (alt.Y(f"{name}:Q", scale=scale, axis=axis) for name in ("low", "speedup"))
    equal = alt.Chart(pd.DataFrame({"at": [1.0]})).mark_rule(strokeDash=[5, 3], color=style.QUIET)
    band = base.mark_area(opacity=0.15).encode(y=low, y2="high:Q")
    line = base.mark_line(strokeWidth=1.6).encode(y=y)
    dots = alt.Chart(frame[frame["measured"]]).mark_point(size=40, filled=True, opacity=1)
    layers = [
        equal.encode(y=alt.Y("at:Q", scale=scale, axis=axis)),
        band,
        line,
        dots.encode(x=x, y=y, color=hue),
    ]
    return alt.layer(*layers).properties(
        width=(WIDTH - 4 * GAP) // COLUMNS,
        height=HEIGHT - 60,
        title=style.small_title(f"{phase}: {variable}"),
    )
