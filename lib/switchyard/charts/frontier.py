"""The comparison at equal compute: static top-k as executed, and every rule with its own point on that line."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, marks, style
from switchyard.charts.looks import styled
from switchyard.charts.save import Figure
from switchyard.charts.tradeoff import joined, static_line
from switchyard.warehouse.study_tables import Tables

UPPER, LOWER, SPACE = 270, 230, 26
MANY = 40
"""Matched configurations beyond which marks shrink."""
OPEN = "not distinguishable"
UNMATCHED = (
    "No configuration of this model was matched with a static top-k of its own mean number of experts."
)
LOW, HIGH = "loss_difference_low", "loss_difference_high"
NAME = "frontier"


def frontier(tables: Tables) -> Figure:
    """One column per dataset; above, perplexity over mean experts; below, loss and the compute-matched baseline's."""
    return Figure(*(_rows(tables, width) for width in (style.WIDTH, style.PAGE)))


def _rows(tables: Tables, width: int) -> alt.TopLevelMixin:
    frame = styled(tables, tables.results, "dataset", "perplexity", "avg_experts", "static")
    highest = _highest(tables, frame)
    frame = frame[frame["avg_experts"] <= highest].drop(columns="static")
    lowest = float(frame["avg_experts"].min()) if len(frame) else 1.0
    scale = axes.experts_scale([lowest], highest=highest)
    x = axes.x("avg_experts:Q", "mean experts per token (log)", scale, **axes.powers_of_two(highest))
    rows = [_in_columns(tables, _above(tables, frame, x), frame, UPPER, width=width)]
    if len(tables.equal_compute):
        matched = differences(tables)
        rows.append(
            _in_columns(tables, _below(tables, matched, x, frame["config_name"]), matched, LOWER, width=width)
        )
    title = style.heading("Comparison at equal compute", _subtitle(tables))
    chart = alt.vconcat(*rows, spacing=SPACE, title=title).resolve_scale(size="independent")
    return style.dress(marks.clickable(chart, NAME), legends="top")


def differences(tables: Tables) -> pd.DataFrame:
    """Rows of `equal_compute` with each configuration's looks; `found` says that Holm finds a difference."""
    columns = ("dataset", "avg_experts", "loss_difference", LOW, HIGH, "loss_p_holm", "loss_verdict")
    frame = styled(tables, tables.equal_compute, *columns)
    return frame.assign(found=frame["loss_verdict"] != OPEN)


def _highest(tables: Tables, experiments: pd.DataFrame) -> int:
    """Smallest static k (or the largest there is) that is no less than any adaptive rule's mean and the trained k."""
    adaptive = experiments.loc[~experiments["static"], "avg_experts"].max()
    needed = max(tables.trained_top_k, 0.0 if pd.isna(adaptive) else float(adaptive))
    static = sorted(tables.configs.loc[tables.configs["static"], "k_or_max_k"])
    return int(next((k for k in static if k >= needed), static[-1]))


def _subtitle(tables: Tables) -> list[str]:
    above = [
        "erplexity of each dataset (log) over mean experts. The line is static top-k as executed, small grey marks are",
        "its mixtures; below the line is better.",
    ]
    if tables.equal_compute.empty:
        return [f"P{above[0]}", above[1], UNMATCHED]
    return [
        f"Above: p{above[0]}",
        above[1],
        "Below: loss minus that of static top-k with the same mean (k or k + 1 experts, token by token), paired by",
        "sample, with 95 % interval; above the dashed zero is worse. A filled mark is distinguishable from zero (Holm",
        "over all configurations and datasets, 0.05), a pale hollow one is not.",
    ]


def _in_columns(
    tables: Tables, layers: list[alt.Chart], frame: pd.DataFrame, height: int, *, width: int
) -> alt.FacetChart:
    """The layers over a frame, in one column per dataset."""
    views = [style.dataset_title(dataset) for dataset in tables.datasets]
    width = min(style.each(len(views), gap=70, width=width), 560)
    data = frame.assign(view=frame["dataset"].map(style.dataset_title)).drop(columns="dataset")
    chart = alt.layer(*layers, data=data).properties(width=width, height=height)
    return chart.facet(column=style.columns("view", views), spacing=70, bounds="flush").resolve_scale(
        y="independent"
    )


def _above(tables: Tables, frame: pd.DataFrame, x: alt.X) -> list[alt.Chart]:
    y = axes.y("perplexity:Q", "perplexity (log)", axes.LOG, format=",.4~r")
    tips = style.tips("label", perplexity=",.4~r", avg_experts=".2f")
    look = {"shown": frame["config_name"], "x": x, "y": y, "tooltip": tips}
    frame.insert(len(frame.columns), "joined", joined(tables, frame))
    return [static_line(x=x, y=y), *marks.points(alt.Chart(), tables, name=NAME, **look)]


def _below(tables: Tables, frame: pd.DataFrame, x: alt.X, shown: pd.Series) -> list[alt.Chart]:
    def y(field: str) -> alt.Y:
        return axes.y(field, "loss − mixed static (nats per token)", format="+.2~g")

    pale = alt.condition("datum.found", alt.value(1.0), alt.value(0.5))
    base = alt.Chart().encode(x=x, strokeOpacity=pale)
    bars = base.mark_rule(strokeWidth=1.3).encode(
        y=y(f"{LOW}:Q"),
        y2=f"{HIGH}:Q",
        stroke=marks.hue(tables, shown),
        opacity=marks.faded(0.08),
    )
    numbers = {"loss_difference": "+.4f", LOW: "+.4f", HIGH: "+.4f", "loss_p_holm": ".3g"}
    tips = [*style.tips("label", avg_experts=".2f", **numbers), *style.tips("loss_verdict")]
    area = 0.6 if frame["config_name"].nunique() > MANY else 1.0
    *_, dots = marks.points(base, tables, name="frontier_differences", shown=shown, area=area, tooltip=tips)
    hollow = alt.value("#ffffff")
    dots = dots.encode(y=y("loss_difference:Q"))
    dots.encoding.fill = alt.condition("datum.found", dots.encoding.fill, hollow)
    return [style.line(y=0), bars, dots]
