"""What a forward attains of the machine's measured ceilings, and what bytes a token moves."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.charts.profile.rules import GAP, HEIGHT, hues, log_x, log_y, phases, tips
from switchyard.charts.routing.layers import WIDTH, heading
from switchyard.profiling.points import PREFILL
from switchyard.profiling.roofline import WATERFALL

COLOURS = (*style.HUES[: len(WATERFALL) - 1], style.GREY)


def profile_roofline(roofline: pd.DataFrame, ceilings: Mapping[str, float]) -> alt.VConcatChart:
    """The roofline of both phases, and a waterfall of each rule's bytes per token, from `roofline.csv`."""
    hue = hues(roofline["rule"])
    ridge = ceilings["gflops"] / ceilings["gbytes"]
    title = heading(
        "What bounds a forward",
        [
            f"Above: operations per second over operations per byte moved. The line is this machine's measured roof: "
            f"{ceilings['gbytes']:.3g} GB/s of a copy up to {ridge:.2g} operations per byte, then "
            f"{ceilings['gflops']:.3g} billion operations/s of a product.",
            "Marks above the roof's slope move bytes from a cache that is faster than the memory. Below: bytes that a "
            "token moves at the smallest batch, weights touched and cache, one bar after the other.",
        ],
    )
    roofs = [_roof(roofline, phase, ceilings, hue) for phase in phases(roofline)]
    falls = [_waterfall(waterfall(roofline, phase), phase) for phase in phases(roofline)]
    below = [alt.hconcat(*views, spacing=GAP) for views in (roofs, falls)]
    return style.dress(alt.vconcat(*below, spacing=30, title=title).resolve_scale(color="independent"))


def waterfall(roofline: pd.DataFrame, phase: str) -> pd.DataFrame:
    """Columns `rule, part, start, end, bytes`: a token's bytes at the smallest batch and middle length."""
    own = roofline[roofline["phase"] == phase]
    own = own[own["batch"] == own["batch"].min()]
    size = "length" if phase == PREFILL else "cache_length"
    middle = sorted(own[size].unique())[(own[size].nunique() - 1) // 2]
    rows = []
    for row in own[own[size] == middle].to_dict("records"):
        start = 0.0
        for part in WATERFALL:
            moved = row[f"bytes_{part}"]
            rows.append(
                {"rule": row["rule"], "part": part, "start": start, "end": start + moved, "bytes": moved}
            )
            start += moved
    return pd.DataFrame(rows)


def _roof(
    roofline: pd.DataFrame, phase: str, ceilings: Mapping[str, float], hue: alt.Color
) -> alt.LayerChart:
    own = roofline[roofline["phase"] == phase]
    ridge = ceilings["gflops"] / ceilings["gbytes"]
    ends = [min(own["intensity"].min(), ridge) / 2, ridge, max(own["intensity"].max(), ridge) * 2]
    line = pd.DataFrame(
        {"intensity": ends, "gflops": [min(ceilings["gflops"], one * ceilings["gbytes"]) for one in ends]}
    )
    x = log_x("intensity:Q", line["intensity"], "operations per byte (log)")
    x.axis = alt.Axis(title="operations per byte (log)", format=".3~g", tickCount=5)
    reached = pd.concat([own["gflops"], line["gflops"]])
    y = log_y("gflops:Q", reached, "billion operations per second (log)")
    y.axis = alt.Axis(title="billion operations per second (log)", format=".3~g", tickCount=5)
    roof = alt.Chart(line).mark_line(color=style.INK, strokeWidth=1.6).encode(x=x, y=y)
    shown = tips(
        rule="", batch="d", length="d", cache_length="d", attained_share=".1%", s_mbu=".1%", s_mfu=".1%"
    )
    points = alt.Chart(own).mark_point(size=46, filled=True, opacity=0.75)
    chart = alt.layer(roof, points.encode(x=x, y=y, color=hue, tooltip=shown))
    return chart.properties(width=(WIDTH - 3 * GAP) // 2, height=HEIGHT, title=style.small_title(phase))


def _waterfall(frame: pd.DataFrame, phase: str) -> alt.FacetChart:
    parts = [part for part in WATERFALL if frame.loc[frame["part"] == part, "bytes"].max() > 0]
    frame = frame[frame["part"].isin(parts)]
    scale = alt.Scale(domain=list(WATERFALL), range=list(COLOURS))
    bars = (
        alt.Chart(frame)
        .mark_bar(height={"band": 0.8})
        .encode(
            x=alt.X("start:Q", axis={"title": "bytes of a token", "format": "~s", "tickCount": 2}),
            x2="end:Q",
            y=alt.Y("part:N", sort=parts, axis={"title": None, "ticks": False}),
            color=alt.Color("part:N", scale=scale, legend=None),
            tooltip=tips(rule="", part="", bytes=",.0f"),
        )
    )
    rules = list(dict.fromkeys(frame["rule"]))
    width = ((WIDTH - 3 * GAP) // 2 - 90 - 20 * (len(rules) - 1)) // len(rules)
    column = alt.Column(
        "rule:N", sort=rules, title=f"{phase}: bytes of a token", header=alt.Header(titleFontSize=11)
    )
    return bars.properties(width=width, height=18 * len(parts)).facet(column=column, spacing=20)
