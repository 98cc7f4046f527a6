"""Latencies one by one: their distribution, their tail, and how far from normal they are."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd
from scipy.stats import norm

from switchyard.charts import style
from switchyard.charts.profile.rules import GAP, HEIGHT, hues, log_scale, log_x, phases
from switchyard.charts.routing.layers import WIDTH, heading
from switchyard.profiling.latency import percentiles

BINS = 40
POINTS = 120
"""Most points of a line: quantiles of the samples, which keep their tails."""


def profile_latency(latency: pd.DataFrame) -> alt.VConcatChart:
    """A histogram, a cumulative distribution and a Q-Q plot for each phase, from `latency.parquet`."""
    hue = hues(latency["rule"])
    title = heading(
        "Latencies one by one",
        [
            "Histogram (logarithmic bins), cumulative distribution with the percentiles and their 95 % intervals, and "
            "quantiles against those of a normal distribution of the same mean and spread, on logarithms:",
            "a straight line is log-normal, a line that bends up at the right has a longer tail. A percentile without "
            "an upper end has too few samples beyond it.",
        ],
    )
    rows = []
    for phase in phases(latency):
        own = latency[latency["phase"] == phase]
        views = [_histogram(own, hue), cumulative(own, hue), _normal(own, hue)]
        names = ("histogram", "cumulative", "against normal")
        titled = [
            view.properties(
                width=(WIDTH - 4 * GAP) // 3, height=HEIGHT - 40, title=style.small_title(f"{phase}: {name}")
            )
            for view, name in zip(views, names, strict=True)
        ]
        rows.append(alt.hconcat(*titled, spacing=GAP // 2))
    return style.dress(alt.vconcat(*rows, spacing=26, title=title))


def histogram(latency: pd.DataFrame) -> pd.DataFrame:
    """Columns `rule, latency_ms` (the middle of a bin), `share`, over bins that all rules share."""
    logs = np.log(latency["latency_ms"])
    edges = np.linspace(logs.min(), logs.max() + 1e-9, BINS + 1)
    frames = []
    for rule, own in latency.groupby("rule", sort=False):
        share = np.histogram(np.log(own["latency_ms"]), edges)[0] / len(own)
        middle = np.exp((edges[1:] + edges[:-1]) / 2)
        frames.append(pd.DataFrame({"rule": rule, "latency_ms": middle, "share": share}))
    return pd.concat(frames, ignore_index=True)


def quantiles(latency: pd.DataFrame) -> pd.DataFrame:
    """Columns `rule, share, latency_ms, normal`: quantiles of a rule, and standard normal ones of the same shares."""
    frames = []
    for rule, own in latency.groupby("rule", sort=False):
        number = min(len(own), POINTS)
        shares = (np.arange(number) + 0.5) / number
        values = np.quantile(own["latency_ms"], shares)
        frames.append(
            pd.DataFrame({"rule": rule, "share": shares, "latency_ms": values, "normal": norm.ppf(shares)})
        )
    return pd.concat(frames, ignore_index=True)


def _x(latency: pd.DataFrame) -> alt.X:
    return log_x("latency_ms:Q", latency["latency_ms"], "milliseconds (log)")


def _histogram(own: pd.DataFrame, hue: alt.Color) -> alt.Chart:
    axis = {"title": "share of the samples", "format": ".0%", "tickCount": 4}
    chart = alt.Chart(histogram(own)).mark_line(interpolate="step", strokeWidth=1.4)
    return chart.encode(x=_x(own), y=alt.Y("share:Q", axis=axis), color=hue)


def cumulative(own: pd.DataFrame, hue: alt.Color) -> alt.LayerChart:
    """Shares of the samples below a latency, and the percentiles with their 95 % intervals, of one phase."""
    ranks = percentiles(own).assign(share=lambda frame: frame["percentile"] / 100)
    y = alt.Y(
        "share:Q",
        axis={"title": "share below", "format": ".0%", "tickCount": 5},
        scale=alt.Scale(domain=[0, 1]),
    )
    line = (
        alt.Chart(quantiles(own))
        .mark_line(strokeWidth=1.4)
        .encode(x=_x(own), y=y, color=hue, order="share:Q")
    )
    whole, low = alt.Chart(ranks[ranks["enough"]]), _x(own)
    low.shorthand = "low:Q"
    bars = whole.mark_rule(strokeWidth=2.4, opacity=0.6).encode(x=low, x2="high:Q", y=y, color=hue)
    return alt.layer(line, bars)


def _normal(own: pd.DataFrame, hue: alt.Color) -> alt.Chart:
    y = alt.Y(
        "latency_ms:Q",
        scale=log_scale(own["latency_ms"], 1.15),
        axis={"title": "milliseconds (log)", "format": "~s", "tickCount": 5},
    )
    x = alt.X("normal:Q", axis={"title": "normal quantile", "tickCount": 5})
    return alt.Chart(quantiles(own)).mark_point(size=14, filled=True, opacity=0.7).encode(x=x, y=y, color=hue)
