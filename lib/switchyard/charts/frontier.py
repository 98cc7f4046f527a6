"""The comparison at equal compute: static top-k as executed, and every rule against its own point on that line."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.key import key
from switchyard.charts.tradeoff import static_line
from switchyard.warehouse.study_tables import Tables

WIDTH = 1230
"""Width in pixels that the columns share, axes included."""
UPPER, LOWER = 270, 230
SPACE = 70
MANY = 40
"""Matched configurations beyond which marks shrink."""
OPEN = "not distinguishable"
UNMATCHED = (
    "No configuration of this model was matched with a static top-k of its own mean number of experts."
)
INTERVAL = ("loss_difference", "loss_difference_low", "loss_difference_high")


def frontier(tables: Tables) -> alt.VConcatChart:
    """One column per dataset; above, perplexity over mean experts; below, loss against the compute-matched baseline."""
    experiments = style.styled(
        tables, tables.results, "dataset", "perplexity", "avg_experts", "static", "control"
    )
    highest = _highest(tables, experiments)
    experiments = experiments[experiments["avg_experts"] <= highest]
    lowest = float(experiments["avg_experts"].min()) if len(experiments) else 1.0
    width = min((WIDTH - SPACE * (len(tables.datasets) - 1)) // max(len(tables.datasets), 1), 560)
    x = alt.X(
        "avg_experts:Q",
        scale=axes.experts_scale([lowest], highest=highest),
        axis=axes.experts_axis(highest=highest, title="mean experts per token (log)"),
    )
    rows = [[_above(tables, experiments, dataset, x, width) for dataset in tables.datasets]]
    if len(tables.equal_compute):
        matched = differences(tables)
        rows.append([_below(matched, dataset, x, width) for dataset in tables.datasets])
    grid = alt.concat(
        *[view for row in rows for view in row], columns=len(tables.datasets), spacing=26, align="each"
    )
    looks = style.configurations(tables)
    title = alt.TitleParams(
        "Comparison at equal compute", subtitle=_subtitle(tables), fontSize=16, anchor="start", offset=14
    )
    legend = key(tables, looks[looks["config_name"].isin(experiments["config_name"])])
    return style.dress(alt.vconcat(legend, grid, spacing=26, title=title))


def differences(tables: Tables) -> pd.DataFrame:
    """Rows of `equal_compute` with each configuration's looks: pale and hollow where Holm finds no difference."""
    columns = ("dataset", "avg_experts", *INTERVAL, "loss_p_holm", "loss_verdict")
    frame = style.styled(tables, tables.equal_compute, *columns)
    found = frame["loss_verdict"] != OPEN
    pale = frame["edge"].map(lambda edge: style.tint(edge, 0.5))
    crowded = frame["config_name"].nunique() > MANY
    return frame.assign(
        edge=frame["edge"].where(found, pale),
        colour=frame["colour"].where(found, "#ffffff"),
        size=frame["size"] * (0.6 if crowded else 1.0),
    )


def _highest(tables: Tables, experiments: pd.DataFrame) -> int:
    """Smallest static k (or the largest there is) that is no less than any adaptive rule's mean and the trained k."""
    adaptive = experiments.loc[~experiments["static"], "avg_experts"].max()
    needed = max(tables.trained_top_k, 0.0 if pd.isna(adaptive) else float(adaptive))
    static = sorted(tables.configs.loc[tables.configs["static"], "k_or_max_k"])
    return int(next((k for k in static if k >= needed), static[-1]))


def _subtitle(tables: Tables) -> list[str]:
    above = (
        "perplexity of each dataset (log) over mean experts; the line is static top-k as executed, small grey "
        "marks are its mixtures. Below the line is better."
    )
    if tables.equal_compute.empty:
        return ["P" + above[1:], UNMATCHED]
    return [
        f"Above: {above}",
        "Below: loss minus that of static top-k with the same mean (k or k + 1 experts, token by token), paired by "
        "sample, with 95 % interval; above the dashed zero is worse.",
        "A filled mark there is distinguishable from zero (Holm over all configurations and datasets, 0.05), a pale "
        "hollow one is not.",
    ]


def _above(tables: Tables, frame: pd.DataFrame, dataset: str, x: alt.X, width: int) -> alt.LayerChart:
    rows = frame[frame["dataset"] == dataset]
    y = alt.Y(
        "perplexity:Q", scale=axes.log_scale(rows["perplexity"]), axis=axes.number_axis("perplexity (log)")
    )
    tips = style.tooltips(("perplexity", "perplexity", ",.4~r"), ("avg_experts", "mean experts", ".2f"))
    controls, others = rows[rows["control"]], rows[~rows["control"]]
    marks = [
        style.points(alt.Chart(part.drop(columns=["dataset", "control", "static"])), x=x, y=y, tooltip=tips)
        for part in (others[others["static"]], controls, others[~others["static"]])
        if len(part)
    ]
    return alt.layer(static_line(tables, rows, x=x, y=y), *marks).properties(
        width=width, height=UPPER, title=style.small_title(style.dataset_title(dataset))
    )


def _below(frame: pd.DataFrame, dataset: str, x: alt.X, width: int) -> alt.LayerChart:
    rows = frame[frame["dataset"] == dataset].drop(columns="dataset")
    low, high = min(0.0, rows[INTERVAL[1]].min()), max(0.0, rows[INTERVAL[2]].max())
    margin = axes.MARGIN * max(high - low, 1e-6)
    scale = alt.Scale(domain=[low - margin, high + margin], nice=False)
    axis = alt.Axis(title="loss − mixed static (nats per token)", format="+.2~g", tickCount=5)
    y = alt.Y("loss_difference:Q", scale=scale, axis=axis)
    base = alt.Chart(rows)
    zero = alt.Chart(pd.DataFrame({"loss_difference": [0.0]})).mark_rule(strokeDash=[5, 3], color=style.QUIET)
    bars = base.mark_rule(strokeWidth=1.3).encode(
        x=x,
        y=alt.Y(f"{INTERVAL[1]}:Q", scale=scale, axis=axis),
        y2=f"{INTERVAL[2]}:Q",
        stroke=alt.Stroke("edge:N", scale=None),
        opacity=style.faded(0.08),
    )
    tips = style.tooltips(
        ("avg_experts", "mean experts", ".2f"),
        ("loss_difference", "difference", "+.4f"),
        (INTERVAL[1], "from", "+.4f"),
        (INTERVAL[2], "to", "+.4f"),
        ("loss_p_holm", "p after Holm", ".3g"),
        ("loss_verdict", "verdict", ""),
    )
    layers = [zero.encode(y=y), bars, style.points(base, x=x, y=y, tooltip=tips)]
    return alt.layer(*layers).properties(width=width, height=LOWER)
