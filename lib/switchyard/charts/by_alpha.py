"""Panels with alpha along the axis: static top-k as a ruler at the left, then the grid, one line per family."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.grid import Grid, grid
from switchyard.warehouse.study_tables import Tables

HEIGHT = 190
WIDTH = 398
"""Width in pixels that the views of one panel share."""
RULER = "top-k"
"""Place of the static rules on the axis."""
NARROW = 40
"""Pixels of a place on the axis below which the ruler moves to the right, so that its numbers stay inside."""
APART = 9
"""Pixels from one number of the ruler to the next, at least."""


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
    """One view: `column` over the dial of the study's grid, a line per family, static top-k as squares with their k.

    `frame` is styled and has one row per configuration; the dashed line is the trained top-k; `spread` names two
    columns with the ends of a bar drawn behind each point.
    """
    study = grid(tables)
    base = alt.Chart(study.rows(frame))
    x = _dial(study, "setting:N", width)
    offset = alt.XOffset("family:N", sort=study.families, scale=alt.Scale(paddingInner=0.1))
    y = alt.Y(f"{column}:Q", scale=scale, axis=axis)
    edge = alt.Stroke("edge:N", scale=None)
    layers = [_reference(tables, frame, column, scale)]
    if len(study.configs):
        lines = base.mark_line(strokeWidth=1.3, opacity=0.6)
        layers.append(lines.encode(x=x, xOffset=offset, y=y, detail="family:N", stroke=edge))
        if spread:
            low, high = alt.Y(f"{spread[0]}:Q", scale=scale, axis=axis), f"{spread[1]}:Q"
            layers.append(
                base.mark_rule(strokeWidth=1.3).encode(
                    x=x, xOffset=offset, y=low, y2=high, stroke=edge, opacity=style.faded(0.12)
                )
            )
        layers.append(style.points(base, x=x, xOffset=offset, y=y, tooltip=list(tooltip)))
    layers += _ruler(tables, study, frame, column, scale, y, tooltip, width)
    return alt.layer(*layers).properties(width=width, height=HEIGHT, title=style.small_title(title))


def _dial(study: Grid, field: str, width: int, **options: object) -> alt.X:
    angle = -90 if width / (len(study.settings) + 1) < 32 else 0
    axis = alt.Axis(title=study.dial or None, labelAngle=angle, labelOverlap=False, grid=False)
    return alt.X(field, scale=alt.Scale(domain=[RULER, *study.settings]), axis=axis, **options)


def _ruler(
    tables: Tables,
    study: Grid,
    frame: pd.DataFrame,
    column: str,
    scale: alt.Scale,
    y: alt.Y,
    tooltip: Sequence[alt.Tooltip],
    width: int,
) -> list[alt.Chart]:
    """Squares of the static rules, one above the other, with as many of their k as there is room for."""
    looks = style.configurations(tables)
    static = frame.merge(looks.loc[looks["static"], ["config_name", "k_or_max_k"]], on="config_name")
    if static.empty:
        return []
    static = static.assign(place=RULER)
    narrow = width / (len(study.settings) + 1) < NARROW
    x = _dial(study, "place:N", width, bandPosition=0.7 if narrow else 0.5)
    squares = style.points(alt.Chart(static), x=x, y=y, tooltip=list(tooltip))
    values = dict(zip(static["k_or_max_k"], static[column], strict=False))
    said = numbered(values, scale, first=tables.trained_top_k)
    numbers = alt.Chart(static.loc[static["k_or_max_k"].isin(said), ["place", "k_or_max_k", column]])
    text = {"align": "right", "dx": -5, "fontSize": 8.5}
    halo = numbers.mark_text(stroke="white", strokeWidth=3, **text)
    words = numbers.mark_text(color=style.INK, **text)
    return [
        squares.encode(size=alt.value(24)),
        *(layer.encode(x=x, y=y, text="k_or_max_k:N") for layer in (halo, words)),
    ]


def numbered(values: dict[int, float], scale: alt.Scale, *, first: int) -> list[int]:
    """The keys of `values` whose places on a scale of HEIGHT pixels leave room for a number, `first` before others.

    After it come the smallest and largest, then powers of two, then the rest.
    """
    options = scale.to_dict()
    low, high = options["domain"]
    bend = math.log if options.get("type") == "log" else float
    length = bend(high) - bend(low) or 1.0
    places = {k: HEIGHT * (bend(value) - bend(low)) / length for k, value in values.items()}
    ends = {min(places, default=0), max(places, default=0)}
    order = sorted(places, key=lambda k: (k != first, k not in ends, k & (k - 1) != 0, k))
    said: list[int] = []
    for k in order:
        if all(abs(places[k] - places[other]) >= APART for other in said):
            said.append(k)
    return said


def _reference(tables: Tables, frame: pd.DataFrame, column: str, scale: alt.Scale) -> alt.Chart:
    trained = frame.loc[frame["config_name"] == tables.trained, [column]]
    return (
        alt.Chart(trained)
        .mark_rule(strokeDash=[5, 3], color=style.QUIET, strokeWidth=1.2)
        .encode(y=alt.Y(f"{column}:Q", scale=scale))
    )


def shown(tables: Tables, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of `frame` (with `config_name`) that these panels draw: static rules and the grid."""
    looks = style.configurations(tables)
    names = {*looks.loc[looks["static"], "config_name"], *grid(tables).configs["config_name"]}
    return frame[frame["config_name"].isin(names)]


def perplexity(tables: Tables) -> alt.HConcatChart:
    """Perplexity of every configuration, one view per dataset, each with its own logarithmic axis."""
    frame = style.styled(tables, shown(tables, tables.results), "dataset", "perplexity", "avg_experts")
    return _beside(
        tables,
        frame,
        datasets=tables.datasets,
        column="perplexity",
        scale=lambda rows: axes.log_scale(rows["perplexity"]),
        axis_title="perplexity (log)",
        tooltip=style.tooltips(("perplexity", "perplexity", ",.4~r"), ("avg_experts", "mean experts", ".2f")),
        title="1. Perplexity",
        subtitle=f"lower is better; each its own log axis; dashed: trained top-{tables.trained_top_k}",
    )


def accuracy(tables: Tables) -> alt.HConcatChart:
    """Accuracy on every dataset that has one, on one axis from zero."""
    scored = shown(tables, tables.results).dropna(subset=["avg_task_accuracy"])
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
    means = shown(tables, over_datasets(tables, "avg_experts"))
    frame = style.styled(tables, means, "avg_experts", "lowest", "largest")
    highest = int(style.configurations(tables)["k_or_max_k"].max())
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
    words = f"fewer is cheaper; bar: range over the datasets; dashed: trained top-{tables.trained_top_k}"
    return titled([view], "3. Experts per token", noted(tables, words))


def utilisation(tables: Tables) -> alt.HConcatChart:
    """Share of experts used at all and the Gini coefficient of their use, means over datasets with ranges."""
    views = []
    for column, name in (
        ("expert_utilization", "experts used (share)"),
        ("gini_coefficient", "Gini of use (0 = even)"),
    ):
        means = shown(tables, over_datasets(tables, column))
        frame = style.styled(tables, means, column, "lowest", "largest")
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
    words = "1 and 0 are even use; mean of the datasets, bar: their range"
    return titled(views, "7. Expert utilisation", noted(tables, words))


def over_datasets(tables: Tables, column: str) -> pd.DataFrame:
    """Mean of `column` over datasets for every configuration, with its `lowest` and `largest` dataset."""
    groups = tables.results.dropna(subset=[column]).groupby("config_name", sort=False)[column]
    return groups.agg(["mean", "min", "max"]).set_axis([column, "lowest", "largest"], axis=1).reset_index()


def titled(views: Sequence[alt.TopLevelMixin], title: str, subtitle: str | list[str]) -> alt.HConcatChart:
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
    words = noted(tables, subtitle)
    return titled(views or [empty("no dataset of this model has an accuracy")], title, words)


def noted(tables: Tables, subtitle: str, *, whole: bool = False) -> list[str]:
    """A panel's subtitle, with a second line for what the grid leaves out (`whole`: for leaving nothing out)."""
    note = grid(tables).note
    return [subtitle, "every rule of the study" if whole else note] if note else [subtitle]


NOT_ADAPTIVE = "no adaptive configuration of this model"
"""Stands where only adaptive rules are drawn."""


def empty(words: str) -> alt.Chart:
    """A view that says in words why nothing is drawn."""
    frame = pd.DataFrame({"words": [words]})
    return (
        alt.Chart(frame)
        .mark_text(color=style.QUIET)
        .encode(text="words:N")
        .properties(width=WIDTH, height=HEIGHT, title=style.small_title("\u00a0"))
    )
