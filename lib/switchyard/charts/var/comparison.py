"""VAR's configurations against the untouched model: quality, speed, and where tokens were routed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.routing.layers import WIDTH, heading

GAP = 70
"""Pixels between neighbouring views."""
LABELS = 150
"""Pixels of the configurations' names."""
ROW = 26
PATHS = ("fast", "cached", "learned")
SPEEDS = {
    "prefill": "prefill",
    "latency_p50": "decoding, median",
    "latency_p95": "decoding, 95th percentile",
}
SPEED_TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.2, 1.5, 2, 3, 5)
WANTED_SPEED_UP = 1.2
"""The speed-up that the criteria of phase 2 ask for."""
FOUND, OPEN = "distinguishable", "not distinguishable"
VERDICTS = alt.Scale(domain=[FOUND, OPEN], range=[style.HUES[0], "#ffffff"])
ROUTED = alt.Scale(domain=list(PATHS), range=[style.HUES[0], style.HUES[4], "#d5d5d5"])


def var_comparison(comparisons: Sequence[Mapping[str, Any]]) -> alt.VConcatChart:
    """Three rows: perplexity by dataset, speed by measure, paths by dataset; `comparisons` of `comparison.json`."""
    order = list(dict.fromkeys(one["name"] for one in comparisons))
    blocks = [
        _dots(qualities(comparisons), order, _percent_x(qualities(comparisons)), [0.0], "perplexity"),
        _paths(paths(comparisons), order),
    ]
    timed = speeds(comparisons)
    if len(timed):
        blocks.insert(1, _dots(timed, order, _ratio_x(timed), [1.0, WANTED_SPEED_UP], "speed"))
    title = heading(
        "VAR against the untouched model",
        [
            "Above: change of perplexity, paired by sample, right of the dashed line is worse. Middle: speed-up, "
            "paired by round, right of the first dashed line is faster;",
            f"the second is the {WANTED_SPEED_UP:g} that the criteria ask for. Bars are 95 % intervals; a filled mark "
            "is distinguishable (quality: after Holm's correction). Below: shares of the tokens.",
        ],
    )
    return style.dress(
        alt.vconcat(*blocks, spacing=24, title=title).resolve_scale(fill="independent", color="independent")
    )


def qualities(comparisons: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Columns `config, view, value, low, high, verdict`: change of perplexity as a share, by dataset."""
    rows = []
    for one in comparisons:
        low, high = one["quality"]["perplexity_change_interval"]
        row = {"config": one["name"], "view": style.dataset_title(one["dataset"])}
        row |= {"value": one["quality"]["perplexity_change"], "low": low, "high": high}
        rows.append(row | {"verdict": FOUND if one["quality"]["loss"]["significant"] else OPEN})
    return pd.DataFrame(rows)


def speeds(comparisons: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Columns `config, view, value, low, high, verdict`: speed-up by measure; no row where none was measured."""
    rows = []
    for one in {one["name"]: one for one in comparisons}.values():
        for name, title in SPEEDS.items():
            if measured := (one["speed"] or {}).get(name):
                low, high = measured["interval"]
                is_found = low is not None and not low <= 1 <= high
                row = {"config": one["name"], "view": title, "value": measured["ratio"]}
                rows.append(row | {"low": low, "high": high, "verdict": FOUND if is_found else OPEN})
    return pd.DataFrame(rows)


def paths(comparisons: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Columns `config, view, path, share, place`, by dataset."""
    rows = []
    for one in comparisons:
        shares = one["var_stats"]["overall"]["routing_distribution"]
        for place, path in enumerate(PATHS):
            row = {"config": one["name"], "view": style.dataset_title(one["dataset"]), "path": path}
            rows.append(row | {"share": shares[path] / 100, "place": place})
    return pd.DataFrame(rows)


def _domain(frame: pd.DataFrame, *landmarks: float) -> list[float]:
    found = pd.concat([frame["value"], frame["low"], frame["high"], pd.Series(landmarks)]).dropna()
    margin = max(axes.MARGIN * (found.max() - found.min()), 1e-3)
    return [found.min() - margin, found.max() + margin]


def _percent_x(frame: pd.DataFrame) -> alt.X:
    scale = alt.Scale(domain=_domain(frame, 0.0, 0.01), nice=False)
    return alt.X(
        "value:Q", scale=scale, axis={"title": "change of perplexity", "format": ".1~%", "tickCount": 5}
    )


def _ratio_x(frame: pd.DataFrame) -> alt.X:
    low, high = _domain(frame, 1.0, WANTED_SPEED_UP)
    axis = alt.Axis(
        title="times the untouched model's speed (log)",
        values=[one for one in SPEED_TICKS if low <= one <= high],
        format=".2~f",
    )
    return alt.X("value:Q", scale=alt.Scale(type="log", domain=[low, high], nice=False), axis=axis)


def _y(order: list[str]) -> alt.Y:
    axis = {"title": None, "ticks": False, "labelLimit": LABELS, "grid": True}
    return alt.Y("config:N", scale=alt.Scale(domain=order), axis=axis)


def _dots(
    frame: pd.DataFrame, order: list[str], x: alt.X, landmarks: list[float], what: str
) -> alt.FacetChart:
    low, high = x.copy(), alt.X2("high:Q")
    low.shorthand = "low:Q"
    legend = alt.Legend(title="from the untouched model", orient="right") if what == "perplexity" else None
    form = "+.2%" if what == "perplexity" else ".3f"
    base = alt.Chart().encode(y=_y(order))
    tips = [
        alt.Tooltip("config:N"),
        *(alt.Tooltip(f"{name}:Q", format=form) for name in ("value", "low", "high")),
    ]
    marks = base.mark_point(size=64, strokeWidth=1.8, stroke=style.HUES[0], opacity=1).encode(
        x=x,
        fill=alt.Fill("verdict:N", scale=VERDICTS, legend=legend),
        tooltip=[*tips, alt.Tooltip("verdict:N")],
    )
    lines = [
        alt.Chart().mark_rule(strokeDash=[5, 3], color=style.QUIET).encode(x=alt.datum(one))
        for one in landmarks
    ]
    bars = base.mark_rule(strokeWidth=1.8, color=style.HUES[0]).encode(x=low, x2=high)
    return _facets(alt.layer(*lines, bars, marks, data=frame), frame, order, what)


def _paths(frame: pd.DataFrame, order: list[str]) -> alt.FacetChart:
    x = alt.X(
        "share:Q",
        scale=axes.share_scale(),
        axis={"title": "share of tokens and MoE blocks", "format": ".0%", "tickCount": 5},
    )
    bars = (
        alt.Chart(frame)
        .mark_bar(height={"band": 0.7})
        .encode(
            x=x.stack("zero"),
            y=_y(order),
            color=alt.Color("path:N", scale=ROUTED, legend=alt.Legend(title="routed by", orient="right")),
            order="place:Q",
            tooltip=[alt.Tooltip("config:N"), alt.Tooltip("path:N"), alt.Tooltip("share:Q", format=".2%")],
        )
    )
    return _facets(bars, frame, order, "paths")


def _facets(
    chart: alt.Chart | alt.LayerChart, frame: pd.DataFrame, order: list[str], what: str
) -> alt.FacetChart:
    views = list(dict.fromkeys(frame["view"]))
    width = (WIDTH - 300 - LABELS - GAP * (len(views) - 1)) // len(views)
    column = alt.Column(
        "view:N", sort=views, title=None, header=alt.Header(labelFontSize=11, labelFontWeight="normal")
    )
    return chart.properties(width=width, height=ROW * len(order)).facet(column=column, spacing=GAP // 2)
