"""Panels of quality against cost: the Pareto frontier over experts, and speed; static top-k is a line through all k."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, marks, style
from switchyard.charts.looks import configurations, styled
from switchyard.charts.panel import HEIGHT, titled, width, without_controls
from switchyard.warehouse.study_tables import Tables

SMALLER = 0.6
"""Area of a mark beside that in other panels."""


def pareto(tables: Tables, legend: pd.Series | None = None) -> alt.TopLevelMixin:
    """Perplexity over mean experts per token, with the line of those no other beats on both."""
    highest = int(tables.configs["k_or_max_k"].max())
    scale = axes.experts_scale(tables.results["avg_experts"], highest=highest)
    ticks = axes.powers_of_two(highest, step=2 if len(tables.datasets) > 1 else 1)
    x = axes.x("avg_experts:Q", "mean experts (log)", scale, **ticks)
    words = "lower left is better; thin: static top-k; broad grey: unbeaten on both"
    return titled(_against(tables, x, name="pareto"), tables, "5. Pareto frontier", words, whole=True)


def speed(tables: Tables, legend: pd.Series | None = None) -> alt.TopLevelMixin:
    """Perplexity over prefill speed, with the line of those no other beats on both."""
    fastest = tables.results["tokens_per_second"].max()
    scale = axes.up_to(1.0 if pd.isna(fastest) else 1.06 * float(fastest))
    label = "datum.value === 0 ? '0' : datum.label"
    x = axes.x(
        "tokens_per_second:Q", "prefill speed (tokens/s)", scale, format="~s", tickCount=3, labelExpr=label
    )
    words = "lower right is better; thin: static top-k; broad grey: unbeaten on both"
    return titled(
        _against(tables, x, name="speed", sign=-1), tables, "9. Speed against quality", words, whole=True
    )


def undominated(frame: pd.DataFrame, *, cost: str, loss: str) -> pd.DataFrame:
    """Rows that no other row beats: none has at most the same `cost` and `loss` with one of them lower.

    Rows come back by rising cost. O(n log n); equal rows are kept together.
    """
    ordered = frame.sort_values([cost, loss], kind="stable")
    best_before = ordered.groupby(cost, sort=False)[loss].transform("min")
    cheaper = best_before.groupby(ordered[cost]).first().cummin().shift(1)
    limit = ordered[cost].map(cheaper).fillna(float("inf"))
    return ordered[(ordered[loss] == best_before) & (ordered[loss] < limit)]


def static_line(**encoding: alt.X | alt.Y) -> alt.Chart:
    """A thin line of ink through the static rules that are weighted as the trained one is, by rising k.

    The chart that it is part of has a column `joined`, the k of those rules, which `joined` makes.
    """
    base = alt.Chart().transform_filter("isValid(datum.joined)")
    return base.mark_line(color=style.INK, strokeWidth=0.9).encode(**encoding, order="joined:Q")


def joined(tables: Tables, frame: pd.DataFrame) -> pd.Series:
    """k of the static rules that `static_line` joins, empty for all other rows of a frame with `config_name`."""
    looks = configurations(tables).set_index("config_name")
    mates = looks[looks["static"] & (looks["weighting"] == looks["weighting"].get(tables.trained))]
    return frame["config_name"].map(mates["k_or_max_k"]).astype(float)


def _against(tables: Tables, x: alt.X, *, name: str, sign: int = 1) -> alt.FacetChart:
    """A view for each dataset; `sign` is -1 where more of `x` is better."""
    cost, names = x.to_dict()["field"], without_controls(tables)
    rows = tables.results[tables.results["config_name"].isin(names)].dropna(subset=[cost])
    frame = styled(tables, rows, "dataset", "perplexity", "avg_experts", "tokens_per_second")
    signed = frame.assign(cost=sign * frame[cost])
    fronts = [undominated(own, cost="cost", loss="perplexity") for _, own in signed.groupby("dataset")]
    front = pd.concat(fronts).index if fronts else []
    frame = frame.assign(
        view=frame["dataset"].map(style.dataset_title),
        joined=joined(tables, frame),
        front=frame.index.isin(front),
    )
    y = axes.y("perplexity:Q", None, axes.LOG, format=",.4~r")
    broad = (
        alt.Chart()
        .transform_filter("datum.front")
        .mark_line(color=style.BAND, strokeWidth=5, strokeCap="round")
    )
    tips = style.tips("label", perplexity=",.4~r", avg_experts=".2f", tokens_per_second=",.0f")
    layers = [
        broad.encode(x=x, y=y, order=f"{cost}:Q"),
        static_line(x=x, y=y),
        *marks.points(alt.Chart(), tables, name=name, shown=names, area=SMALLER, x=x, y=y, tooltip=tips),
    ]
    views = [style.dataset_title(dataset) for dataset in tables.datasets]
    chart = alt.layer(*layers, data=frame).properties(width=width(len(views)), height=HEIGHT)
    return chart.facet(column=style.columns("view", views), spacing=46, bounds="flush").resolve_scale(
        y="independent"
    )
