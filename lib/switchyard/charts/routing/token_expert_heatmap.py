"""Which experts the most frequent token ids use: a row per token, a column per expert."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage

from switchyard.charts import style
from switchyard.charts.routing import landmarks, points
from switchyard.charts.routing.layers import Charted, Figure, by_layer, drawn
from switchyard.charts.routing.token_types import WHOLE, TokenTypes, title_of
from switchyard.errors import InputError

TOKENS = (40, 30, 20, 12, 8, 5)
"""Token ids that are shown, the first number of them that makes few enough cells."""
CELLS_DRAWN, CELLS = 6000, 22000
"""Most cells on paper and on the page."""
ROW = 12
"""Pixels of a token's row."""
WIDEST = 900
LEAST = 0.5
"""Shares below this part of the even share 1/E are left white."""


def token_expert_heatmap(types: TokenTypes, counts: pd.DataFrame, *, num_experts: int) -> Figure:
    """Share of a token id's uses that each expert has; the effective number of experts over layers above.

    Similar tokens lie beside each other (Ward clusters of the square roots of their shares, leaves ordered), experts
    along the diagonal: by the mean place of the tokens that use them. The order is each layer's own.

    Args:
        counts: `expert_counts.parquet` (`layer, domain, token_id, expert, count`); domains are summed.

    Raises:
        InputError: a layer of the statistics has no counts.
    """
    uses = _uses(types, counts, num_experts)
    everywhere = types.rows.groupby("token_id")["frequency"].sum().sort_values(ascending=False, kind="stable")
    shown = [token for token in everywhere.index if all(token in own.index for own in uses.values())]
    names = types.rows.drop_duplicates("token_id").set_index("token_id")["token"]
    for number in TOKENS:
        cells = {layer: _cells(layer, own.loc[shown[:number]], names) for layer, own in uses.items()}
        if (
            sum(map(len, cells.values())) <= CELLS
            and sum(len(cells[layer]) for layer in drawn(types.layers)) <= CELLS_DRAWN
        ):
            break
    number = min(number, len(shown))
    frame = pd.concat(cells.values(), ignore_index=True)
    spread = effective(uses, shown[:number])
    even = f"{100 / num_experts:.3g} %"
    return by_layer(
        types.layers,
        lambda charted, width: _view(charted, width, frame, number, num_experts),
        words={
            layer: f"{title_of(layer)}: {_words(spread[spread['layer'] == layer])}" for layer in types.layers
        },
        strip=lambda x: _strip(spread, x, num_experts),
        strip_title="effective number of experts of these tokens, layer by layer: quartiles and median; "
        "tick in orange: of the whole text",
        title=f"Experts of the {number} most frequent token ids",
        subtitle=[
            f"Share of a token's uses, dark is more; the even share is {even}, white is below half of it. "
            "A middle dot is a blank. Similar tokens are neighbours; experts follow the tokens that use them.",
        ],
        columns=3,
    )


def _uses(types: TokenTypes, counts: pd.DataFrame, num_experts: int) -> dict[str, pd.DataFrame]:
    """Layer -> uses [token ids, experts], domains together."""
    found = {}
    for layer in types.layers:
        own = counts if layer == WHOLE else counts[counts["layer"] == int(layer)]
        if own.empty:
            raise InputError(
                f"expert counts: none of layer {layer}; give those that the statistics came with"
            )
        uses = own.groupby(["token_id", "expert"])["count"].sum().unstack(fill_value=0)
        found[layer] = uses.reindex(columns=range(num_experts), fill_value=0)
    return found


def order(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows with similar ones beside each other, and columns by the mean place of their rows; shares [rows, columns]."""
    rows = np.arange(len(shares))
    if len(shares) > 2:
        rows = leaves_list(linkage(np.sqrt(shares), "ward", optimal_ordering=True))
    weight = shares[rows]
    total = weight.sum(axis=0)
    place = (weight * np.arange(len(rows))[:, None]).sum(axis=0) / np.where(total > 0, total, 1)
    return rows, np.argsort(np.where(total > 0, place, np.inf), kind="stable")


def _cells(layer: str, uses: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """Columns `layer, token, expert, row, column, share` of the cells that are not white, an expert once at least."""
    shares = uses.to_numpy() / np.maximum(uses.to_numpy().sum(axis=1, keepdims=True), 1)
    rows, columns = order(shares)
    ordered = shares[rows][:, columns]
    kept = ordered >= LEAST / shares.shape[1]
    if len(rows):
        kept[ordered.argmax(axis=0), np.arange(len(columns))] = True
    row, column = np.nonzero(kept)
    return pd.DataFrame(
        {
            "layer": layer,
            "token": names.reindex(uses.index).to_numpy()[rows][row],
            "expert": columns[column],
            "row": row,
            "column": column,
            "share": ordered[row, column].round(4),
        }
    )


def effective(uses: dict[str, pd.DataFrame], shown: list[int]) -> pd.DataFrame:
    """Columns `layer, q1, median, q3, whole`: exp of the entropy of shares, over the shown tokens and of all uses."""
    found = []
    for layer, own in uses.items():
        tokens = [_effective(row) for row in own.loc[shown].to_numpy()] or [np.nan]
        quartiles = dict(zip(("q1", "median", "q3"), np.quantile(tokens, (0.25, 0.5, 0.75))))
        found.append({"layer": layer, **quartiles, "whole": _effective(own.to_numpy().sum(axis=0))})
    return pd.DataFrame(found)


def _effective(uses: np.ndarray) -> float:
    shares = uses[uses > 0] / uses.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _words(spread: pd.DataFrame) -> str:
    one = spread.iloc[0]
    if np.isnan(one["median"]):
        return "no token type is usable"
    return (
        f"as many experts as {one['median']:.1f} even ones (median token);\nthe whole text {one['whole']:.1f}"
    )


def _view(charted: Charted, width: int, frame: pd.DataFrame, tokens: int, experts: int) -> alt.LayerChart:
    few = experts <= 16
    x = alt.X(
        "expert:N",
        sort=alt.EncodingSortField("column", op="min"),
        axis={"title": "expert", "labels": few, "ticks": few, "labelAngle": 0, "grid": False},
        scale=alt.Scale(paddingInner=0, paddingOuter=0),
    )
    y = alt.Y(
        "token:N",
        sort=alt.EncodingSortField("row", op="min"),
        axis={"title": None, "grid": False, "labelOverlap": False, "labelFontSize": 10, "labelLimit": 110},
        scale=alt.Scale(paddingInner=0, paddingOuter=0),
    )
    most = float(frame["share"].max()) if len(frame) else 1.0
    colour = alt.Color(
        "share:Q",
        scale=alt.Scale(
            domain=[0, most / 2, most], range=["#ffffff", style.HUES[0], points.DARK], interpolate="rgb"
        ),
        legend=alt.Legend(title="share of the token's uses", format=".0%", tickCount=4, orient="bottom"),
    )
    tips = [alt.Tooltip("token:N"), alt.Tooltip("expert:N"), alt.Tooltip("share:Q", format=".2%")]
    cells = charted(frame).mark_rect(aria=False).encode(x=x, y=y, color=colour, tooltip=tips)
    return alt.layer(cells).properties(width=min(width - 110, WIDEST), height=ROW * max(tokens, 4))


def _strip(spread: pd.DataFrame, x: alt.X, experts: int) -> list[alt.Chart]:
    scale = alt.Scale(domain=[0, experts * 1.25], nice=False)
    axis = {"title": "experts", "tickCount": 4, "format": "d"}
    tips = [
        alt.Tooltip("layer:N"),
        *(alt.Tooltip(f"{name}:Q", format=".1f") for name in ("q1", "median", "q3", "whole")),
    ]
    base = alt.Chart(spread).encode(x=x, tooltip=tips)

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", scale=scale, axis=axis)

    box = base.mark_bar(size=12, color=style.tint(style.HUES[0], 0.55), stroke=style.HUES[0]).encode(
        y=y("q1"), y2="q3:Q"
    )
    middle = base.mark_tick(size=12, thickness=2, color=style.INK).encode(y=y("median"))
    whole = base.mark_tick(size=20, thickness=2, color=style.HUES[1]).encode(y=y("whole"))
    return [*landmarks.across(experts, f"{experts} experts used evenly", scale), box, middle, whole]
