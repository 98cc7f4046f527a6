"""Does VAR's hypothesis hold: are frequent tokens routed alike, and surely enough to look their experts up?"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from switchyard.errors import InputError
from switchyard.observation.criteria import CRITERIA, criteria_met, grades
from switchyard.observation.token_types import (
    TOP_TYPES,
    consistency,
    correlations,
    distribution,
    shares,
    zipf,
)
from switchyard.observation.usable_rows import REASONS, sorted_out

FREQUENCY_THRESHOLD = 50
ENTROPY_THRESHOLD = 0.5
"""A token is eligible for the fast path if it is seen at least so often and its mean entropy (nats) is below."""

MINIMUM_FREQUENCY = 10
"""The third correlation leaves out tokens seen less often: their mean entropies are mostly noise."""


@dataclass(frozen=True)
class Verdict:
    """What `verdict.json` holds: `thresholds`, a dict per layer, and whether every layer supports the hypothesis."""

    thresholds: dict[str, Any]
    layers: list[dict[str, Any]]
    supported_layers: list[int | None]
    supported: bool

    def as_json(self) -> dict[str, Any]:
        """Nothing but what JSON has; no NaN."""
        return asdict(self)


def validate(
    stats: pd.DataFrame | pa.Table,
    *,
    frequency_threshold: int = FREQUENCY_THRESHOLD,
    entropy_threshold: float = ENTROPY_THRESHOLD,
    minimum_frequency: int = MINIMUM_FREQUENCY,
    special_ids: Collection[int] | None = None,
    num_experts: int | None = None,
    place: str = "statistics",
) -> Verdict:
    """Test the hypothesis on routing statistics, layer by layer.

    Usable rows have been seen (frequency above 0), are finite in the columns that count, and are no special tokens. All
    measures are of usable rows; one row is one token type. Per layer:

    - `spearman_rho, spearman_p, spearman_low, spearman_high` of frequency and mean entropy, and as `variants` of
      `all_rows` (special tokens too), `without_special_tokens` (the same again) and `minimum_frequency`
    - `low_entropy_fraction`: share of token types with mean entropy below the threshold
    - `eligible_tokens`: types with frequency >= and mean entropy < their thresholds; `fast_path_coverage`: their
      share of the usable `occurrences`
    - `zipf_r_squared`, `zipf_exponent`: least squares of ln frequency on ln rank over all `token_types`, tied types on
      ranks of their own
    - `top_1000_coverage`, `top_1000_consistency`: share of the occurrences, and mean consistency over types, of the
      `top_types` most frequent, all where there are fewer than 1,000; `mean_consistency` over all types
    - `entropy`: mean, population standard deviation and quartiles over types
    - `unusable_rows` and `unusable_occurrences`, and rows by reason in `unusable`
    - `grades`, `criteria` (met or not), `supported`: all three met (`switchyard.observation.criteria`)
    - `undefined`: why a number is null. Such a number is insufficient

    Args:
        stats: columns `token_id, frequency, mean_entropy (nats), routing_consistency`, maybe `layer`, `token_str`.
        special_ids: None: special tokens are recognised by their `token_str`.
        num_experts: to refuse entropies above its logarithm; None: not checked.
        place: what messages call the table.

    Raises:
        InputError: what is wrong with the table or a threshold.
    """
    _check_threshold("frequency_threshold", frequency_threshold)
    _check_threshold("entropy_threshold", entropy_threshold)
    _check_threshold("minimum_frequency", minimum_frequency)
    rows = sorted_out(stats, special_ids=special_ids, num_experts=num_experts, place=place)
    thresholds = {
        "frequency_threshold": frequency_threshold,
        "entropy_threshold": entropy_threshold,
        "minimum_frequency": minimum_frequency,
        "top_types": TOP_TYPES,
        **CRITERIA,
    }
    parts = [(None, rows)] if rows["layer"].isna().all() else rows.groupby("layer")
    layers = [
        {"layer": None if layer is None else int(layer), **_layer(part, thresholds)} for layer, part in parts
    ]
    supporting = [one["layer"] for one in layers if one["supported"]]
    return Verdict(thresholds, layers, supporting, len(supporting) == len(layers))


def _check_threshold(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{name} is {value}; choose a number from 0 upwards")


def _layer(rows: pd.DataFrame, thresholds: dict[str, Any]) -> dict[str, Any]:
    usable = rows[rows["unusable"].isna()]
    usable = usable.sort_values(["frequency", "token_id"], ascending=[False, True])
    special = rows[rows["unusable"] == "special"]
    parts = (
        correlations(usable, special, minimum_frequency=thresholds["minimum_frequency"]),
        shares(usable, **{name: thresholds[name] for name in ("frequency_threshold", "entropy_threshold")}),
        zipf(usable),
        consistency(usable),
    )
    numbers = {name: value for found, _ in parts for name, value in found.items()}
    undefined = {name: reason for _, reasons in parts for name, reason in reasons.items()}
    asked = {
        "rho": numbers["spearman_rho"],
        "p": numbers["spearman_p"],
        "low_entropy": numbers["low_entropy_fraction"],
        "coverage": numbers["fast_path_coverage"],
    }
    met = criteria_met(**asked)
    return {
        **numbers,
        **_unusable(rows),
        "entropy": distribution(usable["mean_entropy"].to_numpy()),
        "grades": grades(**asked),
        "criteria": met,
        "undefined": undefined,
        "supported": all(met.values()),
    }


def _unusable(rows: pd.DataFrame) -> dict[str, Any]:
    unusable = rows[rows["unusable"].notna()]
    frequency = unusable["frequency"]
    return {
        "unusable_rows": len(unusable),
        "unusable_occurrences": int(frequency[np.isfinite(frequency)].sum()),
        "unusable": {reason: int((unusable["unusable"] == reason).sum()) for reason in REASONS},
    }
