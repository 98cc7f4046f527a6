"""Panels of one measure along alpha: perplexity, accuracy, experts per token, use of the experts."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes
from switchyard.charts.by_alpha import by_alpha
from switchyard.charts.looks import configurations
from switchyard.charts.panel import over_datasets, shown, titled
from switchyard.charts.style import dataset_title, empty
from switchyard.warehouse.study_tables import Tables

PERPLEXITY = ",.4~r"


def perplexity(tables: Tables, legend: pd.Series | None = None) -> alt.TopLevelMixin:
    """Perplexity of every configuration, one view per dataset, each with its own logarithmic axis."""
    y = axes.y("perplexity:Q", None, axes.LOG, format=PERPLEXITY)
    frame, views = _by_dataset(tables, "perplexity", tables.datasets)
    tips = {"perplexity": PERPLEXITY, "avg_experts": ".2f"}
    chart = by_alpha(
        tables, frame, y, name="perplexity", legend=legend, views=views, tips=tips, own_axes=True
    )
    words = f"lower is better; each its own log axis; dashed: trained top-{tables.trained_top_k}"
    return titled(chart, tables, "1. Perplexity", words)


def accuracy(tables: Tables, legend: pd.Series | None = None) -> alt.TopLevelMixin:
    """Accuracy on every dataset that has one, on one axis from zero."""
    frame, views = _by_dataset(tables, "avg_task_accuracy", tables.accuracy_datasets)
    words = f"higher is better; axis from zero; dashed: trained top-{tables.trained_top_k}"
    if not views:
        return titled(empty("no dataset of this model has an accuracy"), tables, "2. Task accuracy", words)
    highest = frame.loc[frame["config_name"].isin(shown(tables)), "avg_task_accuracy"].max()
    y = axes.y("avg_task_accuracy:Q", "accuracy (share)", axes.up_to(min(1.0, 1.12 * highest) or 1.0))
    tips = {"avg_task_accuracy": ".3f", "avg_experts": ".2f"}
    chart = by_alpha(tables, frame, y, name="accuracy", legend=legend, views=views, tips=tips)
    return titled(chart, tables, "2. Task accuracy", words)


def experts(tables: Tables, legend: pd.Series | None = None) -> alt.TopLevelMixin:
    """Mean experts per token: the mean over datasets with the range over datasets behind it."""
    frame = over_datasets(tables, "avg_experts").assign(view="mean of the datasets")
    highest = int(configurations(tables)["k_or_max_k"].max())
    scale = axes.experts_scale(frame.loc[frame["config_name"].isin(shown(tables)), "lowest"], highest=highest)
    y = axes.y("avg_experts:Q", "mean experts per token (log)", scale, **axes.powers_of_two(highest))
    tips = {"avg_experts": ".2f", "lowest": ".2f", "largest": ".2f"}
    chart = by_alpha(
        tables, frame, y, name="experts", legend=legend, views=["mean of the datasets"], tips=tips
    )
    words = f"fewer is cheaper; bar: range over the datasets; dashed: trained top-{tables.trained_top_k}"
    return titled(chart, tables, "3. Experts per token", words)


def utilisation(tables: Tables, legend: pd.Series | None = None) -> alt.TopLevelMixin:
    """Share of experts used at all and the Gini coefficient of their use, means over datasets with ranges."""
    names = {"expert_utilization": "experts used (share)", "gini_coefficient": "Gini of use (0 = even)"}
    parts = [
        over_datasets(tables, column).rename(columns={column: "mean"}).assign(view=name)
        for column, name in names.items()
    ]
    y = axes.y("mean:Q", "share, coefficient", axes.SHARES, format=".1f")
    tips = {"mean": ".3f", "lowest": ".3f", "largest": ".3f"}
    chart = by_alpha(
        tables, pd.concat(parts), y, name="utilisation", legend=legend, views=list(names.values()), tips=tips
    )
    words = "1 and 0 are even use; mean of the datasets, bar: their range"
    return titled(chart, tables, "7. Expert utilisation", words)


def _by_dataset(tables: Tables, column: str, datasets: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Rows that have the column, with `view`, the dataset as a reader says it; and the views in order."""
    rows = tables.results.dropna(subset=[column])
    frame = rows[["config_name", column, "avg_experts"]].assign(view=rows["dataset"].map(dataset_title))
    return frame, [dataset_title(dataset) for dataset in datasets]
