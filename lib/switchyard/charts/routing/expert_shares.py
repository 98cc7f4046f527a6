"""Which experts token ids use, layer by layer: shares, an order in which like stands beside like, how many they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage

from switchyard.charts.routing.token_types import WHOLE, TokenTypes
from switchyard.errors import InputError

LEAST = 0.5
"""Shares below this part of the even share 1/E are left white."""


def uses_of(types: TokenTypes, counts: pd.DataFrame, num_experts: int) -> dict[str, pd.DataFrame]:
    """Layer -> uses [token ids, experts], domains together.

    Raises:
        InputError: a layer of the statistics has no counts.
    """
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


def cells(layer: str, uses: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
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
