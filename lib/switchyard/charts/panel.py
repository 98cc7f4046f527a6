"""What the nine panels share: their size, their titles, and means over datasets."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.charts.grid import grid
from switchyard.charts.looks import configurations
from switchyard.warehouse.study_tables import Tables

WIDTH, HEIGHT = 398, 190
"""Pixels that the views of one panel share."""
NOT_ADAPTIVE = "no adaptive configuration of this model"
"""Stands where only adaptive rules are drawn."""


def width(views: int, *, gap: int = 46) -> int:
    """Width in pixels of each of `views` views of a panel, `gap` pixels of axis and space between them."""
    return style.each(views, gap=gap, width=WIDTH)


def titled(
    chart: alt.TopLevelMixin, tables: Tables, title: str, words: str, *, whole: bool = False
) -> alt.TopLevelMixin:
    """The panel under its title; a second line says what the grid leaves out (`whole`: that nothing is left out)."""
    note = grid(tables).note
    lines = [words, "every rule of the study" if whole else note] if note else [words]
    return chart.properties(title=alt.TitleParams(title, subtitle=lines))


def shown(tables: Tables) -> pd.Series:
    """Names of the configurations in panels along alpha: static rules and the grid."""
    looks = configurations(tables)
    return pd.concat([looks.loc[looks["static"], "config_name"], grid(tables).configs["config_name"]])


def without_controls(tables: Tables) -> pd.Series:
    """Names of all configurations but matched mixed top-k and random counts, which the frontier figure shows."""
    looks = configurations(tables)
    return looks.loc[~looks["control"], "config_name"]


def over_datasets(tables: Tables, column: str) -> pd.DataFrame:
    """Mean of `column` over datasets for every configuration, with its `lowest` and `largest` dataset."""
    groups = tables.results.dropna(subset=[column]).groupby("config_name", sort=False)[column]
    return groups.agg(["mean", "min", "max"]).set_axis([column, "lowest", "largest"], axis=1).reset_index()
