"""The distribution of latencies, for print: the untouched model and the rules, prefill and decode."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.charts.profile.latency import cumulative
from switchyard.charts.profile.rules import GAP, HEIGHT, hues, phases


def latency_cdf(latency: pd.DataFrame) -> alt.HConcatChart:
    """Cumulative distributions by phase, from `latency.parquet`."""
    hue = hues(latency["rule"])
    views = phases(latency)
    width = style.each(len(views), gap=GAP, width=style.PAGE)
    drawn = [
        cumulative(latency[latency["phase"] == phase], hue).properties(
            width=width, height=HEIGHT, title=style.small_title(phase)
        )
        for phase in views
    ]
    return style.dress(alt.hconcat(*drawn, spacing=GAP), legends="bottom")
