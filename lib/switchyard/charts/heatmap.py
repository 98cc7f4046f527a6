"""Panel of the grid's two dials: what alpha and max_k do to perplexity, against the trained top-k."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.charts.by_alpha import HEIGHT, NOT_ADAPTIVE, empty, noted, titled, view_width
from switchyard.charts.grid import Grid, grid
from switchyard.warehouse.study_tables import Tables

NAME_WIDTH = 6
"""Pixels of a letter of a family's name beyond those of a number."""


def change_from_trained(tables: Tables) -> pd.DataFrame:
    """Every experiment of the grid with `change`: perplexity / that of the trained top-k on the dataset - 1."""
    results = tables.results
    trained = results[results["config_name"] == tables.trained].set_index("dataset")["perplexity"]
    changes = results.assign(change=results["perplexity"] / results["dataset"].map(trained) - 1)
    columns = ["config_name", "label", "dataset", "perplexity", "change"]
    frame = style.styled(tables, changes, "dataset", "perplexity", "change")[columns]
    return grid(tables).rows(frame)


def heatmap(tables: Tables) -> alt.HConcatChart:
    """Change of perplexity for the dial (across) and the family (down), a view per dataset, one colour scale."""
    study = grid(tables)
    frame = change_from_trained(tables)
    frame = frame.assign(percent=100 * frame["change"])
    reach = max(float(frame["percent"].abs().max()), 1.0) if len(frame) else 1.0
    colour = alt.Color(
        "percent:Q",
        scale=alt.Scale(domain=[-reach, 0, reach], range=[style.BETTER, style.EQUAL, style.WORSE]),
        legend=None,
    )
    names = NAME_WIDTH * max(max(map(len, study.families), default=0) - 3, 0)
    width = view_width(len(tables.datasets), gap=22) - names // max(len(tables.datasets), 1)
    views = [
        _view(study, frame[frame["dataset"] == dataset], colour, reach, first=place == 0).properties(
            width=width, height=HEIGHT, title=style.small_title(style.dataset_title(dataset))
        )
        for place, dataset in enumerate(tables.datasets)
    ]
    words = f"change of perplexity in % from trained top-{tables.trained_top_k}; orange is worse"
    return titled(
        views if len(frame) else [empty(NOT_ADAPTIVE)],
        f"4. {study.short or 'α'} and {study.dimension}",
        noted(tables, words),
    )


def _view(
    study: Grid, frame: pd.DataFrame, colour: alt.Color, reach: float, *, first: bool
) -> alt.LayerChart:
    title = study.dimension if max(map(len, study.families), default=0) < 5 else None
    axis = alt.Axis(title=title) if first else alt.Axis(title=None, labels=False, ticks=False)
    base = alt.Chart(frame).encode(
        x=alt.X(
            "setting:N",
            sort=study.settings,
            axis=alt.Axis(title=study.short, labelAngle=0, labelOverlap=False, grid=False),
        ),
        y=alt.Y("family:N", sort=study.families, axis=axis),
        tooltip=style.tooltips(
            ("change", "change of perplexity", "+.1%"), ("perplexity", "perplexity", ",.4~r")
        ),
    )
    dark = f"datum.percent < {-0.7 * reach!r}"
    words = base.mark_text(fontSize=10).encode(
        text=alt.Text("percent:Q", format="+.0f" if reach >= 10 else "+.1f"),
        color=alt.condition(dark, alt.value("white"), alt.value(style.INK)),
    )
    return alt.layer(base.mark_rect(stroke="white").encode(color=colour), words)
