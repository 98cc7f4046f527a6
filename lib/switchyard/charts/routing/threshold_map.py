"""Coverage of the fast path over both thresholds, as a map with the study's own cell outlined."""

from __future__ import annotations

import altair as alt

from switchyard.charts import style


def threshold_map() -> list[alt.Chart]:
    """Marks for rows of `fast_path.sensitivity`: cells with their shares."""
    plain = {"labelAngle": 0, "grid": False, "labelOverlap": False, "format": "~g"}
    base = alt.Chart().encode(
        x=alt.X("frequency:O", axis=alt.Axis(title="frequency at least", **plain)),
        y=alt.Y("entropy:O", sort="descending", axis=alt.Axis(title="entropy below (nats)", **plain)),
        tooltip=style.tips(frequency=",~r", entropy="~r", coverage=".2%"),
    )
    scale = alt.Scale(domain=[0, 1], range=[style.EQUAL, style.HUES[0]])
    text = base.mark_text(fontSize=9).encode(
        text=alt.Text("coverage:Q", format=".0%"),
        color=alt.condition("datum.coverage > 0.6", alt.value("white"), alt.value(style.INK)),
    )
    cells = base.mark_rect(stroke="white", strokeWidth=0.5)
    own = base.transform_filter("datum.own == 1").mark_rect(
        fillOpacity=0, stroke=style.WORSE, strokeWidth=2.4
    )
    return [cells.encode(color=alt.Color("coverage:Q", scale=scale, legend=None)), text, own]
