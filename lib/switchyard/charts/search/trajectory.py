"""What each method had found after so many points: the speed of the best feasible point so far, over seeds."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.routing.layers import WIDTH, heading

GAP = 70
HEIGHT = 280
ORDER = ("bayesian", "random", "grid")
HUES = {"bayesian": style.HUES[0], "random": style.QUIET, "grid": style.HUES[4]}
DASHES = {"bayesian": [1, 0], "random": [6, 3], "grid": [2, 2]}
UNTOUCHED = 1.0
"""Its speed."""
GAIN = alt.Axis(title="speed-up − 1", format="+.3~%", tickCount=5, minExtent=52)


def search_trajectory(rows: Mapping[str, pd.DataFrame], limit: float) -> alt.HConcatChart:
    """One view per space; `rows` by method are those of `trajectory.parquet`."""
    frame = best_so_far(rows)
    spaces = list(dict.fromkeys(frame["space"]))
    title = heading(
        "What the search had found after so many points",
        [
            f"How much faster than the untouched model the fastest point so far is that loses at most {limit:.2%} of "
            "perplexity. Thin lines: one seed each; thick: their mean.",
            "Before a feasible point is found a seed stands at the untouched model, the dashed line at 0. Failed and "
            "infeasible points count as points.",
        ],
    )
    width = (WIDTH - GAP * len(spaces)) // max(len(spaces), 2)
    views = [_view(frame[frame["space"] == space], space, width) for space in spaces]
    return style.dress(alt.hconcat(*views, spacing=24, title=title))


def best_so_far(rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Columns `method, space, seed, number, best`: speed - 1, 0 where nothing is feasible yet."""
    kept = [
        one.assign(method=method, best=one["best_speed"].fillna(UNTOUCHED) - UNTOUCHED)
        for method, one in rows.items()
    ]
    return pd.concat(kept)[["method", "space", "seed", "number", "best"]].reset_index(drop=True)


def _view(frame: pd.DataFrame, space: str, width: int) -> alt.LayerChart:
    present = [name for name in ORDER if name in set(frame["method"])]
    hue = alt.Color(
        "method:N",
        scale=alt.Scale(domain=present, range=[HUES[name] for name in present]),
        legend=alt.Legend(title="method", orient="bottom", symbolStrokeWidth=2, symbolOpacity=1),
    )
    dash = alt.StrokeDash(
        "method:N",
        scale=alt.Scale(domain=present, range=[DASHES[name] for name in present]),
        legend=alt.Legend(title="method", orient="bottom", symbolStrokeWidth=2, symbolOpacity=1),
    )
    x = alt.X("number:Q", axis={"title": "points evaluated", "format": "d", "tickMinStep": 1, "grid": False})
    y = alt.Y("best:Q", scale=_scale(frame["best"]), axis=GAIN)
    means = frame.groupby(["method", "number"], as_index=False)["best"].mean()
    seeds, mean = (alt.Chart(data).encode(x=x, y=y, color=hue) for data in (frame, means))
    tips = [
        alt.Tooltip("method:N"),
        alt.Tooltip("number:Q", format="d"),
        alt.Tooltip("best:Q", format="+.3%"),
    ]
    line = {"interpolate": "step-after"}
    return (
        alt.layer(
            alt.Chart().mark_rule(strokeDash=[5, 3], color=style.QUIET).encode(y=alt.datum(0.0)),
            seeds.mark_line(strokeWidth=0.8, opacity=0.45, **line).encode(detail="seed:N"),
            mean.mark_line(strokeWidth=2.6, **line).encode(strokeDash=dash, tooltip=tips),
        )
        .properties(width=width, height=HEIGHT, title=style.small_title(f"space: {space}"))
        .resolve_scale(color="shared", strokeDash="shared")
    )


def _scale(values: pd.Series) -> alt.Scale:
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    margin = max(axes.MARGIN * (high - low), 1e-5)
    return alt.Scale(domain=[low - margin, high + margin], nice=False)
