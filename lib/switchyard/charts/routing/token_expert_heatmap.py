"""Which experts the most frequent token ids use: a row per token, a column per expert."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from switchyard.charts import axes, style
from switchyard.charts.routing import bins, landmarks, points
from switchyard.charts.routing.expert_shares import cells, effective, uses_of
from switchyard.charts.routing.layers import View, Words, by_layer, drawn
from switchyard.charts.routing.token_types import TokenTypes, title_of
from switchyard.charts.save import Figure

TOKENS = (40, 30, 20, 12, 8, 5)
"""Token ids that are shown, the first number of them that makes few enough cells."""
CELLS_DRAWN, CELLS = 6000, 22000
"""Most cells in print and on the page."""
ROW, GAP = 12, 110
"""Pixels of a token's row, and from one layer to the next."""


def token_expert_heatmap(types: TokenTypes, counts: pd.DataFrame, *, num_experts: int) -> Figure:
    """Share of a token id's uses that each expert has; the effective number of experts over layers above.

    Similar tokens lie beside each other (Ward clusters of the square roots of their shares, leaves ordered), experts
    along the diagonal: by the mean place of the tokens that use them. The order is each layer's own.

    Args:
        counts: `expert_counts.parquet` (`layer, domain, token_id, expert, count`); domains are summed.

    Raises:
        InputError: a layer of the statistics has no counts.
    """
    uses = uses_of(types, counts, num_experts)
    frame, shown = _shown(types, uses)
    spread = effective(uses, shown)
    words = Words(
        f"Experts of the {len(shown)} most frequent token ids",
        [
            f"Share of a token's uses, dark is more; the even share is {100 / num_experts:.3g} %, white is below half "
            "of it. A middle dot is a blank. Similar tokens are neighbours; experts follow the tokens that use them.",
        ],
        {one: f"{title_of(one)}: {_words(spread[spread['layer'] == one])}" for one in types.layers},
        "effective number of experts of these tokens, layer by layer: quartiles and median; tick in orange: of the "
        "whole text",
    )
    view = View([_cells(frame, num_experts)], frame)
    height = ROW * max(len(shown), 4)
    return by_layer(
        words, [view], lambda x: _strip(spread, x, num_experts), height=height, gap=GAP, own_axes=True
    )


def _shown(types: TokenTypes, uses: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, list[int]]:
    """Cells of all layers, and the token ids that they are of: as many as make few enough cells."""
    everywhere = types.rows.groupby("token_id")["frequency"].sum().sort_values(ascending=False, kind="stable")
    ids = [token for token in everywhere.index if all(token in own.index for own in uses.values())]
    names = types.rows.drop_duplicates("token_id").set_index("token_id")["token"]
    printed = drawn(types.layers)
    for number in TOKENS:
        parts = [cells(layer, own.loc[ids[:number]], names) for layer, own in uses.items()]
        frame = pd.concat(parts, ignore_index=True)
        if len(frame) <= CELLS and frame["layer"].isin(printed).sum() <= CELLS_DRAWN:
            break
    return frame, ids[:number]


def _words(spread: pd.DataFrame) -> str:
    one = spread.iloc[0]
    if np.isnan(one["median"]):
        return "no token type is usable"
    return (
        f"as many experts as {one['median']:.1f} even ones (median token); the whole text {one['whole']:.1f}"
    )


def _cells(frame: pd.DataFrame, experts: int) -> alt.Chart:
    few, tight = experts <= 16, alt.Scale(paddingInner=0, paddingOuter=0)
    x = {"labels": few, "ticks": few, "labelAngle": 0, "grid": False, "title": "expert"}
    y = {"title": None, "grid": False, "labelOverlap": False, "labelFontSize": 10, "labelLimit": GAP - 20}
    most = float(frame["share"].max()) if len(frame) else 1.0
    colours = alt.Scale(
        domain=[0, most / 2, most], range=["#ffffff", style.HUES[0], points.DARK], interpolate="rgb"
    )
    legend = alt.Legend(
        title="share of the token's uses", format=".0%", tickCount=4, orient="bottom", direction="horizontal"
    )
    cells = alt.Chart().mark_rect(aria=False)
    return cells.encode(
        x=alt.X("expert:N", sort=alt.EncodingSortField("column", op="min"), axis=x, scale=tight),
        y=alt.Y("token:N", sort=alt.EncodingSortField("row", op="min"), axis=y, scale=tight),
        color=alt.Color("share:Q", scale=colours, legend=legend),
        tooltip=style.tips("token", "expert", share=".2%"),
    )


def _strip(spread: pd.DataFrame, x: alt.X, experts: int) -> list[alt.Chart]:
    names = ("q1", "median", "q3", "whole")
    base = alt.Chart(spread).encode(x=x, tooltip=style.tips("layer", **dict.fromkeys(names, ".1f")))
    y = {
        name: axes.y(f"{name}:Q", "experts", axes.up_to(1.25 * experts), tickCount=4, format="d")
        for name in names
    }
    whole = base.mark_tick(size=20, thickness=2, color=style.HUES[1]).encode(y=y["whole"])
    boxes = bins.boxes(base, y, width=12)
    return [*landmarks.across(experts, f"{experts} experts used evenly"), *boxes, whole]
