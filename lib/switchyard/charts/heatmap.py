"""Panel of BH's two dials: what alpha and max_k do to perplexity, against the trained top-k."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.charts.by_alpha import HEIGHT, empty, titled, view_width
from switchyard.charts.tables import Tables

BETTER, EQUAL, WORSE = "#0072B2", "#f7f7f7", "#D55E00"


def change_from_trained(tables: Tables) -> pd.DataFrame:
    """Every adaptive experiment with `change`: perplexity / that of the trained top-k on the dataset - 1."""
    results = tables.results
    trained = results[results["config_name"] == tables.trained].set_index("dataset")["perplexity"]
    changes = results.assign(change=results["perplexity"] / results["dataset"].map(trained) - 1)
    frame = style.styled(tables, changes, "dataset", "perplexity", "change")
    return frame[~frame["static"]]


def heatmap(tables: Tables) -> alt.HConcatChart:
    """Change of perplexity for alpha (across) and max_k (down), one view per dataset, one colour scale for all."""
    frame = change_from_trained(tables)
    reach = max(float(frame["change"].abs().max()), 0.01) if len(frame) else 0.01
    colour = alt.Color(
        "change:Q", scale=alt.Scale(domain=[-reach, 0, reach], range=[BETTER, EQUAL, WORSE]), legend=None
    )
    width = view_width(len(tables.datasets), gap=22)
    views = [
        _view(tables, frame[frame["dataset"] == dataset], colour, reach, first=place == 0).properties(
            width=width, height=HEIGHT, title=style.small_title(style.dataset_title(dataset))
        )
        for place, dataset in enumerate(tables.datasets)
    ]
    return titled(
        views if len(frame) else [empty("no adaptive rule in this study")],
        "4. α and max_k",
        f"change of perplexity against trained top-{tables.trained_top_k}; orange is worse, blue is better",
    )


def _view(
    tables: Tables, frame: pd.DataFrame, colour: alt.Color, reach: float, *, first: bool
) -> alt.LayerChart:
    alphas = [setting for setting in style.settings(tables) if setting != style.STATIC_SETTING]
    axis = alt.Axis(title="max_k") if first else alt.Axis(title=None, labels=False, ticks=False)
    base = alt.Chart(frame).encode(
        x=alt.X(
            "setting:N", sort=alphas, axis=alt.Axis(title="α", labelAngle=0, labelOverlap=False, grid=False)
        ),
        y=alt.Y("family:N", sort=style.families(tables), axis=axis),
        tooltip=style.tooltips(
            ("change", "change of perplexity", "+.1%"), ("perplexity", "perplexity", ",.4~r")
        ),
    )
    dark = f"abs(datum.change) > {0.62 * reach!r}"
    words = base.mark_text(fontSize=10).encode(
        text=alt.Text("change:Q", format="+.0%" if reach >= 0.1 else "+.1%"),
        color=alt.condition(dark, alt.value("white"), alt.value(style.INK)),
    )
    return alt.layer(base.mark_rect(stroke="white").encode(color=colour), words)
