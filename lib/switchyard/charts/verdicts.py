"""The verdicts as a table: every matched configuration on every dataset against static top-k of its own budget."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from switchyard.charts import style
from switchyard.charts.by_alpha import empty
from switchyard.charts.frontier import OPEN, UNMATCHED
from switchyard.warehouse.study_tables import Tables

ROW = 17
LETTER = 6.0
"""Pixels of a letter of a label."""
CELL = 84
LEAST = 0.2
"""Share of the full colour that the smallest distinguishable difference has."""


@dataclass(frozen=True)
class _Measure:
    """A pair of columns of `equal_compute`: `sign` is 1 where a larger difference is worse."""

    column: str
    verdict: str
    heading: str
    form: str
    scale: float
    sign: int


LOSS = _Measure("loss_difference", "loss_verdict", "loss, nats per token", "+.3f", 1.0, 1)
ACCURACY = _Measure("accuracy_difference", "accuracy_verdict", "accuracy, points in 100", "+.1f", 100.0, -1)


def verdicts(tables: Tables) -> alt.TopLevelMixin:
    """Rows are configurations by set, columns datasets; a cell has a colour only where Holm finds a difference."""
    title = alt.TitleParams(
        "Verdicts: better, worse, or not distinguishable from static top-k at its own budget",
        subtitle=[
            "Difference to the mixed static k with the same mean number of experts, paired by sample. Orange is "
            "worse, blue is better,",
            "both after Holm's correction over all of this model (0.05); a cell without colour: not distinguishable.",
        ],
        frame="bounds",
    )
    if tables.equal_compute.empty:
        return style.dress(empty(UNMATCHED).properties(title=title))
    found = pd.concat([cells(tables, LOSS), cells(tables, ACCURACY)])
    looks = style.configurations(tables)
    looks = looks[looks["config_name"].isin(found["config_name"])]
    extent = LETTER * looks["label"].str.len().max()
    sets = {name: looks[looks["set_name"] == name] for name in looks["set_name"].unique()}
    views = [_group(rows, found, tables, f"set {name}", extent) for name, rows in sets.items()]
    return style.dress(alt.vconcat(*views, spacing=16, title=title))


def cells(tables: Tables, measure: _Measure) -> pd.DataFrame:
    """One row per cell: `value` as printed, and the colour's place `worse` from -1 to 1.

    0 means not distinguishable; the smallest difference that is has LEAST, so that it never looks like none.
    """
    frame = tables.equal_compute.dropna(subset=[measure.column])
    value = frame[measure.column].astype(float) * measure.scale
    found = frame[measure.verdict] != OPEN
    share = value.abs() / (value[found].abs().max() or 1.0) if found.any() else value.abs()
    worse = measure.sign * np.sign(value) * (LEAST + (1 - LEAST) * share)
    return pd.DataFrame(
        {
            "config_name": frame["config_name"],
            "measure": measure.column,
            "dataset": frame["dataset"].map(style.dataset_title),
            "value": value,
            "worse": worse.where(found, 0.0),
            "verdict": frame[measure.verdict],
        }
    )


def _group(
    looks: pd.DataFrame, found: pd.DataFrame, tables: Tables, title: str, extent: float
) -> alt.HConcatChart:
    """The rows of one set: the marks of its configurations, then losses, then accuracies."""
    rows = looks[style.LOOKS].merge(found, on="config_name")
    order = list(looks["label"])
    places = [style.dataset_title(dataset) for dataset in tables.datasets]
    views = [_marks(looks, order, title, extent)]
    for measure in (LOSS, ACCURACY):
        part = rows[rows["measure"] == measure.column]
        names = [place for place in places if place in set(part["dataset"])]
        if names:
            views.append(
                _table(part[["label", "dataset", "value", "worse", "verdict"]], order, names, measure)
            )
    return alt.hconcat(*views, spacing=8)


def _rows(order: list[str], *, labels: bool, extent: float = 0) -> alt.Y:
    """Places of the rows; `extent` pixels for their labels keep the sets' columns below each other."""
    axis = alt.Axis(
        title=None,
        ticks=False,
        domain=False,
        grid=False,
        labels=labels,
        labelLimit=extent,
        minExtent=extent,
        maxExtent=extent,
    )
    return alt.Y("label:N", sort=order, axis=axis)


def _marks(looks: pd.DataFrame, order: list[str], title: str, extent: float) -> alt.Chart:
    y = _rows(order, labels=True, extent=extent)
    chart = style.points(alt.Chart(looks[style.LOOKS]), y=y).encode(opacity=alt.value(1))
    heading = alt.TitleParams(title, fontSize=12, anchor="start", frame="bounds", offset=2)
    return chart.properties(
        width=16, height=ROW * len(order), title=heading, view=alt.ViewBackground(stroke=None)
    )


def _table(frame: pd.DataFrame, order: list[str], names: list[str], measure: _Measure) -> alt.LayerChart:
    axis = alt.Axis(title=measure.heading, orient="top", labelAngle=0, ticks=False, domain=False, grid=False)
    base = alt.Chart(frame).encode(
        x=alt.X("dataset:N", sort=names, axis=axis),
        y=_rows(order, labels=False),
        tooltip=style.tooltips(
            ("dataset", "dataset", ""), ("value", "difference", measure.form), ("verdict", "verdict", "")
        ),
    )
    colour = alt.Color(
        "worse:Q",
        scale=alt.Scale(domain=[-1, 0, 1], range=[style.BETTER, style.EQUAL, style.WORSE]),
        legend=None,
    )
    words = base.mark_text(fontSize=10).encode(
        text=alt.Text("value:Q", format=measure.form),
        color=alt.condition("datum.worse < -0.7", alt.value("white"), alt.value(style.INK)),
    )
    return alt.layer(base.mark_rect(stroke="white").encode(color=colour), words).properties(
        width=CELL * len(names), height=ROW * len(order)
    )
