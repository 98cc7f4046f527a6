"""Panels with alpha along the axis: static rules at the left, then each alpha, one line per max_k."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.tables import Tables

HEIGHT = 190
WIDTH = 450
"""Width in pixels that the views of one panel share."""


def by_alpha(
    tables: Tables,
    frame: pd.DataFrame,
    *,
    column: str,
    scale: alt.Scale,
    axis: alt.Axis,
    tooltip: Sequence[alt.Tooltip],
    width: int,
    title: str = "",
    spread: tuple[str, str] | None = None,
) -> alt.LayerChart:
    """One view: `column` over alpha, a line per max_k, the static rules as squares at the left.

    `frame` is styled and has one row per configuration; the dashed line is the trained top-k; `spread` names two
    columns with the ends of a bar drawn behind each point.
    """
    base = alt.Chart(frame)
    x = alt.X("setting:N", sort=style.settings(tables), axis=_setting_axis(width))
    offset = alt.XOffset("family:N", sort=style.families(tables), scale=alt.Scale(paddingInner=0.1))
    y = alt.Y(f"{column}:Q", scale=scale, axis=axis)
    lines = (
        base.transform_filter("!datum.static")
        .mark_line(strokeWidth=1.3, opacity=0.6)
        .encode(x=x, xOffset=offset, y=y, detail="family:N", stroke=alt.Stroke("edge:N", scale=None))
    )
    layers = [_reference(tables, frame, column, scale), lines]
    if spread:
        layers.append(
            base.mark_rule(strokeWidth=1.3).encode(
                x=x,
                xOffset=offset,
                y=alt.Y(f"{spread[0]}:Q", scale=scale),
                y2=f"{spread[1]}:Q",
                stroke=alt.Stroke("edge:N", scale=None),
            )
        )
    layers.append(style.points(base, x=x, xOffset=offset, y=y, tooltip=list(tooltip)))
    return alt.layer(*layers).properties(width=width, height=HEIGHT, title=style.small_title(title))


def _setting_axis(width: int) -> alt.Axis:
    return alt.Axis(
        title="α (false discovery rate)", labelAngle=-90 if width < 180 else 0, labelOverlap=False, grid=False
    )


def _reference(tables: Tables, frame: pd.DataFrame, column: str, scale: alt.Scale) -> alt.Chart:
    trained = frame.loc[frame["config_name"] == tables.trained, [column]]
    return (
        alt.Chart(trained)
        .mark_rule(strokeDash=[5, 3], color=style.QUIET, strokeWidth=1.2)
        .encode(y=alt.Y(f"{column}:Q", scale=scale))
    )


def perplexity(tables: Tables) -> alt.HConcatChart:
    """Perplexity of every configuration, one view per dataset, each with its own logarithmic axis."""
    frame = style.styled(tables, tables.results, "dataset", "perplexity", "avg_experts")
    return _beside(
        tables,
        frame,
        datasets=tables.datasets,
        column="perplexity",
        scale=lambda rows: axes.log_scale(rows["perplexity"]),
        axis_title="perplexity (log)",
        tooltip=style.tooltips(("perplexity", "perplexity", ",.4~r"), ("avg_experts", "mean experts", ".2f")),
        title="1. Perplexity",
        subtitle=f"lower is better; each dataset its own log axis; dashed: trained top-{tables.trained_top_k}",
    )


def accuracy(tables: Tables) -> alt.HConcatChart:
    """Accuracy on every dataset that has one, on one axis from zero."""
    scored = tables.results.dropna(subset=["avg_task_accuracy"])
    frame = style.styled(tables, scored, "dataset", "avg_task_accuracy", "avg_experts")
    highest = float(frame["avg_task_accuracy"].max()) if len(frame) else 1.0
    scale = alt.Scale(domain=[0, min(1.0, 1.12 * highest) or 1.0], nice=False)
    return _beside(
        tables,
        frame,
        datasets=tables.accuracy_datasets,
        column="avg_task_accuracy",
        scale=lambda rows: scale,
        axis_title="accuracy (share)",
        tooltip=style.tooltips(
            ("avg_task_accuracy", "accuracy", ".3f"), ("avg_experts", "mean experts", ".2f")
        ),
        title="2. Task accuracy",
        subtitle=f"higher is better; axis from zero; dashed: trained top-{tables.trained_top_k}",
    )


def experts(tables: Tables) -> alt.HConcatChart:
    """Mean experts per token: the mean over datasets with the range over datasets behind it."""
    frame = style.styled(tables, over_datasets(tables, "avg_experts"), "avg_experts", "lowest", "largest")
    highest = int(tables.configs["k_or_max_k"].max())
    view = by_alpha(
        tables,
        frame,
        column="avg_experts",
        width=WIDTH,
        title="mean of the datasets",
        scale=axes.experts_scale(frame["lowest"], highest=highest),
        axis=axes.experts_axis(highest=highest, title="mean experts per token (log)"),
        tooltip=style.tooltips(
            ("avg_experts", "mean experts", ".2f"),
            ("lowest", "lowest dataset", ".2f"),
            ("largest", "highest", ".2f"),
        ),
        spread=("lowest", "largest"),
    )
    return titled(
        [view],
        "3. Experts per token",
        f"fewer is cheaper; bar: range over the datasets; log axis; dashed: trained top-{tables.trained_top_k}",
    )


def utilisation(tables: Tables) -> alt.HConcatChart:
    """Share of experts used at all and the Gini coefficient of their use, means over datasets with ranges."""
    views = []
    for column, name in (
        ("expert_utilization", "experts used (share)"),
        ("gini_coefficient", "Gini of use (0 = even)"),
    ):
        frame = style.styled(tables, over_datasets(tables, column), column, "lowest", "largest")
        views.append(
            by_alpha(
                tables,
                frame,
                column=column,
                width=view_width(2),
                title=name,
                scale=axes.share_scale(),
                axis=alt.Axis(title="share" if not views else "coefficient", format=".1f", tickCount=5),
                tooltip=style.tooltips((column, name, ".3f"), ("lowest", "lowest dataset", ".3f")),
                spread=("lowest", "largest"),
            )
        )
    return titled(
        views, "7. Expert utilisation", "1 and 0 are even use; mean of the datasets, bar: their range"
    )


def over_datasets(tables: Tables, column: str) -> pd.DataFrame:
    """Mean of `column` over datasets for every configuration, with its `lowest` and `largest` dataset."""
    groups = tables.results.dropna(subset=[column]).groupby("config_name", sort=False)[column]
    return groups.agg(["mean", "min", "max"]).set_axis([column, "lowest", "largest"], axis=1).reset_index()


def titled(views: Sequence[alt.TopLevelMixin], title: str, subtitle: str) -> alt.HConcatChart:
    """Views side by side under one panel title, axes and colours their own."""
    panel = alt.hconcat(*views, spacing=10, title=alt.TitleParams(title, subtitle=subtitle))
    return panel.resolve_scale(xOffset="independent")


def view_width(views: int, *, gap: int = 46) -> int:
    """Width in pixels of each of `views` views of a panel with `gap` pixels (axis and space) between them."""
    return (WIDTH - gap * (views - 1)) // max(views, 1)


def _beside(
    tables, frame, *, datasets, column, scale, axis_title, tooltip, title, subtitle
) -> alt.HConcatChart:
    views = []
    for dataset in datasets:
        rows = frame[frame["dataset"] == dataset]
        axis = axes.number_axis(axis_title if not views else None)
        views.append(
            by_alpha(
                tables,
                rows,
                column=column,
                scale=scale(rows),
                axis=axis,
                tooltip=tooltip,
                width=view_width(len(datasets)),
                title=style.dataset_title(dataset),
            )
        )
    return titled(views or [empty("no dataset of this study has an accuracy")], title, subtitle)


def empty(words: str) -> alt.Chart:
    """A view that says in words why nothing is drawn."""
    frame = pd.DataFrame({"words": [words]})
    return (
        alt.Chart(frame)
        .mark_text(color=style.QUIET)
        .encode(text="words:N")
        .properties(width=WIDTH, height=HEIGHT)
    )
