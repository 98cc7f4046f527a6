"""Token types as points: those that would lie on each other are one mark, darker the more they are.

Every mark stands exactly where a token type is, so that a small table is a plain scatter and a large one a density; the
number of marks is bounded whatever the number of types.
"""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from switchyard.charts import axes, style

MARKS_PER_LAYER, MARKS = 1200, 16000
"""Most marks of a layer (a drawing stays below 1.5 MB) and of all layers together (a page does)."""
CELLS = (150, 110, 80, 60, 44, 32, 24, 16, 12, 8)
"""Cells along an axis, the first number of them that makes few enough marks."""
PALE, DARK = style.tint(style.HUES[0], 0.55), "#03253c"
ELIGIBLE = style.HUES[2]


def merged(rows: pd.DataFrame, x: str, y: str, *, views: int = 1) -> pd.DataFrame:
    """Columns `layer, x, y, types, token, eligible` (1 or 0): one row per mark.

    Types that are neighbours in a grid are one mark, at the place and with the name of the most frequent of them. A
    mark never mixes types on either side of a threshold. `x` may be the frequency, whose grid is logarithmic, or a
    column on a linear axis. `views` shares the bound among the views of one figure.
    """
    frame = rows[["layer", "token", "frequent", "certain", "eligible"]].assign(x=rows[x], y=rows[y])
    across = np.log(frame["x"]) if x == "frequency" else frame["x"]
    most = min(MARKS_PER_LAYER, MARKS // max(rows["layer"].nunique(), 1)) // views
    for cells in CELLS:
        keys = ["layer", _cell(across, cells), _cell(frame["y"], 2 * cells // 3), "frequent", "certain"]
        groups = frame.groupby(keys, sort=False, observed=True)
        types = groups.size()
        if types.empty or types.groupby(level=0).size().max() <= most:
            break
    marks = groups[["x", "y", "token", "eligible"]].first().assign(types=types).reset_index("layer")
    marks["eligible"] = marks["eligible"].astype(int)
    return marks[["layer", "x", "y", "types", "token", "eligible"]].reset_index(drop=True)


def _cell(values: pd.Series, cells: int) -> pd.Series:
    span = float(np.ptp(values)) if len(values) else 0.0
    return ((values - values.min()) / (span or 1.0) * cells).astype(int).rename(f"{values.name}_cell")


def drawn_points(marks: pd.DataFrame, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Marks of `merged`, eligible ones as green diamonds over the rest."""
    most = max(int(marks["types"].max()) if len(marks) else 1, 2)
    scale = alt.Scale(type="log", domain=[1, most], range=[PALE, DARK])
    tips = [
        *style.tips("token", types=","),
        alt.Tooltip("x:Q", title=x["axis"]["title"], format=",.4~r"),
        alt.Tooltip("y:Q", title=y["axis"]["title"], format=".4f"),
    ]
    base, plain = alt.Chart().encode(x=x, y=y, tooltip=tips), {"opacity": 1, "clip": True, "aria": False}
    green = {"shape": "diamond", "size": 40, "fill": ELIGIBLE, "stroke": "white", "strokeWidth": 0.8}
    return [
        base.transform_filter("datum.eligible == 0")
        .mark_circle(size=13, **plain)
        .encode(color=alt.Color("types:Q", scale=scale, legend=None)),
        base.transform_filter("datum.eligible == 1").mark_point(**green, **plain),
    ]


def frequency_x(most: int, *, field: str = "x:Q", title: str = "frequency (log)") -> alt.X:
    """A logarithmic axis from 1 to `most` with a tick at each power of ten."""
    ticks = [10**power for power in range(len(str(most)))]
    return axes.x(field, title, axes.log_scale([1, most]), format="~s", values=ticks, tickCount=len(ticks))


def value_y(title: str, top: float, *, field: str = "y:Q") -> alt.Y:
    """A linear axis from 0 to `top`."""
    return axes.y(field, title, axes.up_to(top), format=".1f")


def most_in_a_mark(marks: pd.DataFrame) -> str:
    """How a subtitle says what darkness means."""
    most = int(marks["types"].max()) if len(marks) else 0
    return (
        "one mark per token type"
        if most <= 1
        else f"darker where types lie on each other, up to {most:,} in a mark"
    )
