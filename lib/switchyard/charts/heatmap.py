"""Panel of the grid's two settings: what alpha and max_k do to perplexity, compared with the trained top-k."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.grid import grid
from switchyard.charts.looks import styled
from switchyard.charts.panel import HEIGHT, NOT_ADAPTIVE, titled, width
from switchyard.warehouse.study_tables import Tables


def change_from_trained(tables: Tables) -> pd.DataFrame:
    """Every experiment of the grid with `change`: perplexity / that of the trained top-k on the dataset - 1."""
    results = tables.results
    trained = results[results["config_name"] == tables.trained].set_index("dataset")["perplexity"]
    changes = results.assign(change=results["perplexity"] / results["dataset"].map(trained) - 1)
    frame = styled(tables, changes, "dataset", "perplexity", "change").drop(
        columns=["kind", "family", "setting"]
    )
    return grid(tables).rows(frame)


def heatmap(tables: Tables, legend: pd.Series | None = None) -> alt.TopLevelMixin:
    """Change of perplexity by hyperparameter (across) and member (down), a view per dataset, one colour scale."""
    study, frame = grid(tables), change_from_trained(tables)
    frame = frame.assign(view=frame["dataset"].map(style.dataset_title), percent=100 * frame["change"])
    reach = max(float(frame["percent"].abs().max()), 1.0) if len(frame) else 1.0
    colours = alt.Scale(domain=[-reach, 0, reach], range=[style.BETTER, style.EQUAL, style.WORSE])
    long = max(map(len, study.members), default=0) > 4
    base = alt.Chart().encode(
        x=alt.X(**axes.words("value", study.values, study.short)),
        y=alt.Y(**axes.words("member", study.members, None if long else study.dimension)),
        tooltip=style.tips("label", change="+.1%", perplexity=",.4~r"),
    )
    text = base.mark_text(fontSize=10).encode(
        text=alt.Text("percent:Q", format="+.0f" if reach >= 10 else "+.1f"),
        color=alt.condition(f"datum.percent < {-0.7 * reach!r}", alt.value("white"), alt.value(style.INK)),
    )
    cells = base.mark_rect(stroke="white").encode(color=alt.Color("percent:Q", scale=colours, legend=None))
    views = [style.dataset_title(dataset) for dataset in tables.datasets]
    chart = alt.layer(cells, text, data=frame).properties(
        width=width(len(views), gap=22) - 25 * long, height=HEIGHT
    )
    chart = (
        chart.facet(column=style.columns("view", views), spacing=10)
        if len(frame)
        else style.empty(NOT_ADAPTIVE)
    )
    words = f"change of perplexity in % from trained top-{tables.trained_top_k}; orange is worse"
    return titled(chart, tables, f"4. {study.short or 'α'} and {study.dimension}", words)
