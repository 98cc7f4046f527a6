"""Where the time of a forward goes: stacked components of each rule in each phase."""

from __future__ import annotations

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.charts.profile.rules import GAP, phases, tips
from switchyard.charts.routing.layers import WIDTH, heading
from switchyard.profiling.names import ATTACH, OTHER

GROUPS = {
    "attention": ("attention", "rotary", "mask"),
    "expert products": ("expert products", "experts", "dense"),
    "gather and combine": ("gather", "combine"),
    "router": ("router",),
    "the rule's sort and tests": ("rule", "sort", "p-values"),
    "VAR's learned routing": ("learned routing",),
    "VAR's hash and look-ups": (
        "hash",
        "table look-up",
        "cache look-up",
        "look-up",
        "cache write",
        "after forward",
    ),
    "attach": (ATTACH,),
    "norms, residual, embedding": ("norms", "residual", "embedding"),
    "head": ("head",),
    OTHER: (OTHER,),
}
"""Components of `components.csv` by the colour that they share."""
COLOURS = (*style.HUES, "#b5b5b5", "#e4e4e4")
LABELS = 190


def profile_components(components: pd.DataFrame) -> alt.VConcatChart:
    """One bar for each rule, a view for each phase, from the rows of `components.csv`."""
    frame = grouped(components)
    shown = [name for name in GROUPS if name in set(frame["group"])]
    title = heading(
        "Where the time of a forward goes",
        [
            "Mean milliseconds of each part, of forwards of batch 1, all rules interleaved in one process. The light "
            "grey end of a bar is what has no name.",
            "What a rule does inside its part, and the experts inside theirs, is divided by steps that were timed "
            "alone and by torch.profiler.",
        ],
    )
    views = [_bars(frame[frame["phase"] == phase], phase, shown) for phase in phases(frame)]
    return style.dress(alt.vconcat(*views, spacing=26, title=title))


def grouped(components: pd.DataFrame) -> pd.DataFrame:
    """Columns `rule, phase, group, place, mean_ms, share`, the components of a group added up."""
    names = {one: group for group, own in GROUPS.items() for one in own}
    frame = components.assign(group=components["component"].map(names).fillna(OTHER))
    keys = ["rule", "phase", "group"]
    frame = frame.groupby(keys, sort=False, as_index=False)[["mean_ms", "percentage"]].sum()
    frame["place"] = frame["group"].map({group: place for place, group in enumerate(GROUPS)})
    return frame.assign(share=frame.pop("percentage") / 100)


def _bars(frame: pd.DataFrame, phase: str, shown: list[str]) -> alt.Chart:
    order = list(dict.fromkeys(frame["rule"]))
    scale = alt.Scale(domain=shown, range=[COLOURS[list(GROUPS).index(name)] for name in shown])
    bars = alt.Chart(frame).mark_bar(height={"band": 0.72}, stroke="white", strokeWidth=0.6)
    return bars.encode(
        x=alt.X("mean_ms:Q", axis={"title": "milliseconds of a forward", "tickCount": 6}).stack("zero"),
        y=alt.Y("rule:N", sort=order, axis={"title": None, "ticks": False, "labelLimit": LABELS}),
        color=alt.Color(
            "group:N", scale=scale, legend=alt.Legend(title="part", orient="right", symbolLimit=0)
        ),
        order="place:Q",
        tooltip=tips(rule="", group="", mean_ms=".3f", share=".1%"),
    ).properties(width=WIDTH - 2 * LABELS - GAP, height=32 * len(order), title=style.small_title(phase))
