"""Measures over token types: how often each is seen, and how surely and how evenly it is routed.

`usable` holds one row per type, most frequent first: `frequency, mean_entropy, routing_consistency`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from switchyard.observation.correlation import FEWEST, Correlation, spearman

TOP_TYPES = 1000
"""Most frequent token types (ties to the lowest token id) of the `top_1000_` measures."""

_RESOLUTION = 1e-6
"""Nats: mean entropies that lie closer together are equal but for the rounding of single precision."""

_NO_ROWS = "no usable rows"

Measured = tuple[dict[str, Any], dict[str, str]]
"""Numbers by name, and why those that are None are."""


def correlations(usable: pd.DataFrame, special: pd.DataFrame, *, minimum_frequency: int) -> Measured:
    """Spearman's rho of frequency and mean entropy, and its variants; `special` are the rows of special tokens."""
    variants = {
        "all_rows": _correlation(pd.concat([usable, special])),
        "without_special_tokens": _correlation(usable),
        "minimum_frequency": _correlation(usable[usable["frequency"] >= minimum_frequency]),
    }
    chief = variants["without_special_tokens"]
    numbers = {f"spearman_{name}": getattr(chief, name) for name in ("rho", "p", "low", "high")}
    undefined = _why(numbers, chief.reason)
    return {**numbers, "variants": {name: one._asdict() for name, one in variants.items()}}, undefined


def _correlation(rows: pd.DataFrame) -> Correlation:
    return spearman(
        rows["frequency"].to_numpy(),
        rows["mean_entropy"].to_numpy(),
        names=("frequencies", "mean entropies"),
        resolution=_RESOLUTION,
    )


def shares(usable: pd.DataFrame, *, frequency_threshold: float, entropy_threshold: float) -> Measured:
    """Of token types those with low entropy, of occurrences those on the fast path and of the most frequent types."""
    frequency = usable["frequency"].to_numpy()
    low = (usable["mean_entropy"] < entropy_threshold).to_numpy()
    eligible = low & (frequency >= frequency_threshold)
    occurrences, types = frequency.sum(), len(frequency)
    numbers = {
        "low_entropy_fraction": float(low.mean()) if types else None,
        "fast_path_coverage": float(frequency[eligible].sum() / occurrences) if types else None,
        "top_1000_coverage": float(frequency[:TOP_TYPES].sum() / occurrences) if types else None,
        "top_types": min(types, TOP_TYPES),
        "eligible_tokens": int(eligible.sum()),
        "token_types": types,
        "occurrences": int(occurrences),
    }
    return numbers, _why(numbers, _NO_ROWS)


def zipf(usable: pd.DataFrame) -> Measured:
    """Least squares of ln frequency on ln rank, one point per type; undefined for two types or one frequency."""
    frequency = usable["frequency"].to_numpy()
    undefined = {"zipf_r_squared": None, "zipf_exponent": None}
    if len(frequency) < FEWEST:
        return undefined, _why(undefined, f"fewer than {FEWEST} rows")
    if np.ptp(frequency) == 0:
        return undefined, _why(undefined, "all frequencies are equal")
    line = stats.linregress(np.log(np.arange(1, len(frequency) + 1)), np.log(frequency))
    return {"zipf_r_squared": float(line.rvalue**2), "zipf_exponent": float(-line.slope)}, {}


def consistency(usable: pd.DataFrame) -> Measured:
    """Mean routing consistency of all types and of the most frequent ones."""
    values = usable["routing_consistency"].to_numpy()
    numbers = {
        "top_1000_consistency": float(values[:TOP_TYPES].mean()) if len(values) else None,
        "mean_consistency": float(values.mean()) if len(values) else None,
    }
    return numbers, _why(numbers, _NO_ROWS)


def _why(numbers: dict[str, Any], reason: str | None) -> dict[str, str]:
    return {name: reason for name, value in numbers.items() if value is None}


def distribution(entropy: np.ndarray) -> dict[str, Any]:
    """Mean, population standard deviation, extremes and the three quartiles of values [types]; None for none."""
    if not len(entropy):
        return {"mean": None, "std": None, "min": None, "quartiles": None, "max": None}
    return {
        "mean": float(entropy.mean()),
        "std": float(entropy.std()),
        "min": float(entropy.min()),
        "quartiles": np.quantile(entropy, (0.25, 0.5, 0.75)).tolist(),
        "max": float(entropy.max()),
    }
