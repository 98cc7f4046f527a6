"""What the figures of routing are drawn from: usable token types, layer by layer, and what the verdict says of them."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from switchyard.charts.routing.token_text import named
from switchyard.errors import InputError
from switchyard.observation.usable_rows import sorted_out

WHOLE = "all"
"""The name of the only layer of a table that has no layers."""


@dataclass(frozen=True)
class TokenTypes:
    """`rows`: usable token types, most frequent first: `layer` (text), `token_id, token, frequency, mean_entropy,
    routing_consistency, frequent, certain, eligible`; `found`: layer -> its part of `verdict.json`.
    """

    rows: pd.DataFrame
    found: dict[str, dict[str, Any]]
    thresholds: dict[str, Any]
    most_entropy: float | None
    """ln of the number of experts, nats; None where that is not known."""

    @classmethod
    def of(
        cls,
        stats: pd.DataFrame,
        verdict: dict[str, Any],
        *,
        num_experts: int | None = None,
        special_ids: Collection[int] | None = None,
    ) -> TokenTypes:
        """Put routing statistics and the verdict that was made from them together.

        Args:
            stats: `routing_stats.parquet`.
            verdict: `verdict.json`.
            special_ids: what the verdict was made with.

        Raises:
            InputError: what is wrong with the statistics, or that the verdict is not theirs.
        """
        place = "routing statistics"
        sorted_rows = sorted_out(stats, special_ids=special_ids, num_experts=num_experts, place=place)
        rows = sorted_rows.assign(token=named(stats).to_numpy())
        rows["layer"] = [WHOLE if pd.isna(one) else str(int(one)) for one in rows["layer"]]
        rows = rows[rows["unusable"].isna()].drop(columns="unusable")
        rows = rows.astype({"token_id": np.int64, "frequency": np.int64})
        found = {WHOLE if one["layer"] is None else str(one["layer"]): one for one in verdict["layers"]}
        _refuse_others(rows, found)
        thresholds = verdict["thresholds"]
        frequent = rows["frequency"] >= thresholds["frequency_threshold"]
        certain = rows["mean_entropy"] < thresholds["entropy_threshold"]
        rows = rows.assign(frequent=frequent, certain=certain, eligible=frequent & certain)
        rows = rows.sort_values(["frequency", "token_id"], ascending=[False, True], ignore_index=True)
        return cls(rows, found, thresholds, None if num_experts is None else math.log(num_experts))

    @property
    def layers(self) -> list[str]:
        """Names of the layers, in order."""
        return list(self.found)

    @property
    def top(self) -> float:
        """Upper end of an axis of entropies, nats."""
        largest = float(self.rows["mean_entropy"].max()) if len(self.rows) else 0.0
        return (
            max(self.most_entropy or 0.0, largest, 1.3 * self.thresholds["entropy_threshold"]) * 1.08 or 1.0
        )

    @property
    def most_frequent(self) -> int:
        """Largest frequency, or the threshold where that is larger; at least 1."""
        largest = int(self.rows["frequency"].max()) if len(self.rows) else 1
        return max(largest, math.ceil(self.thresholds["frequency_threshold"]), 1)

    def eligible_words(self, layer: str) -> str:
        """How many token types of a layer are eligible, as plain where there are none."""
        one = self.found[layer]
        if not one["token_types"]:
            return "no token type is usable"
        covered = percent(one["fast_path_coverage"])
        return (
            f"{one['eligible_tokens']:,} of {one['token_types']:,} token types are eligible, "
            f"{covered} of the occurrences"
        )

    def measures(self, **names: str) -> pd.DataFrame:
        """One row per layer: `layer` and measures of the verdict, renamed; undefined ones are empty."""
        rows = [
            {"layer": layer} | {new: one[name] for new, name in names.items()}
            for layer, one in self.found.items()
        ]
        return pd.DataFrame(rows).astype(dict.fromkeys(names, float))


def _refuse_others(rows: pd.DataFrame, found: dict[str, dict[str, Any]]) -> None:
    counted = {layer: one["token_types"] for layer, one in found.items() if one["token_types"]}
    usable = rows["layer"].value_counts().to_dict()
    for layer in {**usable, **counted}:
        if usable.get(layer, 0) != counted.get(layer, 0):
            raise InputError(
                f"routing statistics: {usable.get(layer, 0)} usable rows in layer {layer} and "
                f"{counted.get(layer, 0)} in the verdict; make the verdict from this table again"
            )


def title_of(layer: str) -> str:
    """How a line of words about a layer begins."""
    return "all layers together" if layer == WHOLE else f"layer {layer}"


def percent(share: float | None) -> str:
    """A share in per cent with one decimal, small ones not rounded away."""
    if share is None:
        return "undefined"
    if 0 < share < 1e-4:
        return "under 0.01 %"
    digits = 2 if 0 < share < 1e-3 else 1
    return f"{100 * share:.{digits}f}".removesuffix(".0") + " %"
