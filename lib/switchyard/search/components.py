"""Components of a rule that an ablation switches off, and the columns of its table. Nothing here runs a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

NUMBERS = (
    "mean_experts",
    "acting_share",
    "flops_ratio",
    "loss",
    "perplexity",
    "untouched_difference",
    "loss_difference",
    "loss_low",
    "loss_high",
    "p",
    "p_holm",
)
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("rule", "config", "component", "change", "settings", "failed")]
    + [(name, pa.float64()) for name in NUMBERS]
    + [("verdict", pa.string())]
)
"""Of the table of all rules; `ablation.ablate` says what the columns are."""

WHOLE = "none"
"""Component of the row of the whole rule."""


class Component(NamedTuple):
    """A component of a rule and what replaces it."""

    name: str
    change: str
    """In words."""
    settings: dict[str, Any] | None
    """Those of the rule without it; None: static top-k at the whole rule's mean number of experts."""


def var_components(whole: Mapping[str, Any], num_experts: int) -> list[Component]:
    """VAR's paths, its stored weights, and each of its thresholds; `whole` are fields of a VARConfig.

    A threshold that is off lets everything pass. Settings that the whole rule has off are left out.
    """
    other = "live" if whole["route_weights"] == "table" else "table"
    changes = [
        ("fast path", "no token id is eligible", {"entropy_threshold": 0.0}),
        ("cache", "no entries", {"cache_size": 0}),
        (f"{whole['route_weights']} weights", f"{other} weights", {"route_weights": other}),
        ("frequency threshold", "0", {"frequency_threshold": 0}),
        ("entropy threshold", "ln E", {"entropy_threshold": math.log(num_experts)}),
        ("confidence threshold", "0", {"confidence_threshold": 0.0}),
        ("context in the cache key", "the token id alone", {"context_window_size": 0}),
        ("fewer fast-path experts", "the trained top-k", {"fast_path_experts": None}),
    ]
    return _changed(whole, changes)


def bh_components(whole: Mapping[str, Any], num_experts: int) -> list[Component]:
    """BH's test, the kernel of its null, its weighting and its limits; `whole` are settings of a configuration."""
    other = "sum_to_one" if whole["weighting"] == "model" else "model"
    changes = [
        ("kernel of the null", "empirical null", {"null_distribution": "empirical"}),
        (f"weighting {whole['weighting']}", f"weighting {other}", {"weighting": other}),
        ("min_k", "0", {"min_k": 0}),
        ("max_k", f"{num_experts}, all experts", {"max_k": num_experts}),
    ]
    test = Component("test", "a draw with the same mean", None)
    return [test, *_changed(whole, changes)]


def _changed(whole: Mapping[str, Any], changes: Iterable[tuple[str, str, dict[str, Any]]]) -> list[Component]:
    """The components whose change makes a difference to the settings."""
    different = [
        (name, words, change)
        for name, words, change in changes
        if any(whole.get(key) != value for key, value in change.items())
    ]
    return [Component(name, words, {**whole, **change}) for name, words, change in different]
