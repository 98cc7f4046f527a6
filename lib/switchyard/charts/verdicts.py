"""The verdicts as a table: every matched configuration on every dataset, and static top-k of its own budget."""

from __future__ import annotations

from typing import NamedTuple

import altair as alt
import numpy as np
import pandas as pd

from switchyard.charts import axes, marks, style
from switchyard.charts.frontier import OPEN, UNMATCHED
from switchyard.charts.looks import LOOKS, configurations
from switchyard.warehouse.study_tables import Tables

ROW, CELL = 17, 88
"""Pixels of a cell."""
LEAST = 0.2
"""Share of the full colour that the smallest distinguishable difference has."""


class Measure(NamedTuple):
    """A pair of columns of `equal_compute`: `sign` is 1 where a larger difference is worse."""

    column: str
    verdict: str
    heading: str
    form: str
    scale: float
    sign: int


LOSS = Measure("loss_difference", "loss_verdict", "loss (nats)", "+.3f", 1.0, 1)
ACCURACY = Measure("accuracy_difference", "accuracy_verdict", "accuracy (points)", "+.1f", 100.0, -1)


def verdicts(tables: Tables) -> alt.TopLevelMixin:
    """Rows are configurations by set, columns datasets; a cell has a colour only where Holm finds a difference."""
    title = alt.TitleParams(
        "Verdicts: better, worse, or not distinguishable from static top-k at its own budget",
        subtitle=[
            "Difference to the mixed static k with the same mean number of experts, paired by sample: loss in nats per "
            "token,",
            "accuracy in points of 100. Orange is worse, blue is better, both after Holm's correction over all of this "
            "model (0.05);",
            "a cell without colour: not distinguishable.",
        ],
        frame="bounds",
    )
    if tables.equal_compute.empty:
        return style.dress(style.empty(UNMATCHED).properties(title=title))
    looks = configurations(tables)
    found = pd.concat([cells(tables, LOSS), cells(tables, ACCURACY)])
    frame = looks[[*LOOKS, "set_name"]].merge(found, on="config_name")
    frame = frame.assign(set="set " + frame["set_name"]).drop(columns="set_name")
    heads = [
        f"{one.heading}|{style.dataset_title(dataset)}"
        for one in (LOSS, ACCURACY)
        for dataset in tables.datasets
    ]
    columns = [head for head in heads if head in set(frame["column"])]
    chart = alt.layer(*_table(frame, columns), _marks(tables, frame), data=frame)
    chart = chart.properties(width={"step": CELL}, height={"step": ROW}, view=style.BARE)
    look = {"labelAlign": "left", "labelAnchor": "end", "labelBaseline": "top", "labelFontWeight": "bold"}
    header = alt.Header(title=None, labelAngle=0, **look)
    row = alt.Row("set:N", sort=list(frame["set"].unique()), header=header)
    return style.dress(chart.facet(row=row, spacing=14, title=title).resolve_scale(y="independent"))


def cells(tables: Tables, measure: Measure) -> pd.DataFrame:
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
            "dataset": frame["dataset"].map(style.dataset_title),
            "column": [f"{measure.heading}|{style.dataset_title(one)}" for one in frame["dataset"]],
            "value": value,
            "printed": [format(one, measure.form).replace("-", "−") for one in value],
            "worse": worse.where(found, 0.0),
            "verdict": frame[measure.verdict],
        }
    )


def _table(frame: pd.DataFrame, columns: list[str]) -> list[alt.Chart]:
    """Cells in the colour of their verdict, with their numbers."""
    order = list(dict.fromkeys(frame["label"]))
    bare = {"ticks": False, "domain": False}
    top = {"orient": "top", "labelExpr": "split(datum.label, '|')", "labelLimit": CELL, "labelPadding": 17}
    base = alt.Chart().encode(
        x=alt.X(**axes.words("column", columns, **bare, **top)),
        y=alt.Y(**axes.words("label", order, **bare, labelPadding=24, labelLimit=300)),
        tooltip=[*style.tips("label", "dataset", "verdict"), alt.Tooltip("printed:N", title="difference")],
    )
    scale = alt.Scale(domain=[-1, 0, 1], range=[style.BETTER, style.EQUAL, style.WORSE])
    text = base.mark_text(fontSize=10).encode(
        text="printed:N",
        color=alt.condition("datum.worse < -0.7", alt.value("white"), alt.value(style.INK)),
    )
    return [base.mark_rect(stroke="white").encode(color=alt.Color("worse:Q", scale=scale, legend=None)), text]


def _marks(tables: Tables, frame: pd.DataFrame) -> alt.Chart:
    """The mark of each configuration beside its label."""
    first = alt.Chart().transform_filter(f"datum.column == {frame['column'].iloc[0]!r}")
    names = frame["config_name"]
    base = first.encode(x=alt.value(-12), y=alt.Y("label:N", sort=list(dict.fromkeys(frame["label"]))))
    *_, chart = marks.points(base, tables, name="verdicts", shown=names)
    for channel in ("shape", "stroke"):
        chart.encoding[channel].legend = None
    return chart.encode(opacity=alt.value(1))
