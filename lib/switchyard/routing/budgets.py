"""The alpha at which BH spends a given mean number of experts on calibration text, and the table that keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from switchyard.artifacts.files import read_table
from switchyard.errors import InputError
from switchyard.routing.nulls import NullDistribution, p_values

_SETTINGS = ("null", "min_k", "max_k", "target_k")
_SCHEMA = pa.schema(
    [
        ("null", pa.string()),
        ("min_k", pa.int16()),
        ("max_k", pa.int16()),
        ("target_k", pa.float64()),
        ("alpha", pa.float64()),
        ("mean_experts", pa.float64()),
    ]
)
_PRECISION = 1e-6
"""Bisection stops at an interval this wide relative to alpha, which is small under a null without the chosen."""
_SMALLEST = 1e-12


class Budget(NamedTuple):
    """A level of BH and what it costs."""

    alpha: float
    mean_experts: float
    """Mean of clamp(n, min_k, max_k) over all layers and tokens of the calibration text."""


def solve_alpha(
    logits: Sequence[np.ndarray],
    null: Sequence[NullDistribution],
    *,
    target_k: float,
    min_k: int,
    max_k: int,
) -> Budget:
    """The alpha whose mean number of experts on `logits` is nearest `target_k`.

    The mean is a step function that never decreases with alpha, so bisection finds the step at the target, to one
    part in a million of alpha; of its two sides the nearer is taken, the smaller alpha if they are equally near.

    Args:
        logits: float32 [tokens, num_experts] of every layer.
        null: the null of every layer.

    Raises:
        InputError: no alpha between 0 and 1 has such a mean.
    """
    return _bisect(entry_levels(logits, null, max_k)[:, min_k:], target_k, min_k)


def budget_table(
    logits: Sequence[np.ndarray],
    nulls: Mapping[str, Sequence[NullDistribution]],
    settings: Iterable[Mapping[str, Any]],
) -> pa.Table:
    """Solve every one of `settings` (null, min_k, max_k, target_k); p-values are made once per null.

    Args:
        logits: float32 [tokens, num_experts] of every layer.
        nulls: name -> the null of every layer, for the names in `settings`.

    Returns:
        null, min_k, max_k, target_k, alpha, mean_experts: a row for each of `settings`, in their order.
    """
    rows = [{name: one[name] for name in _SETTINGS} for one in settings]
    for null in dict.fromkeys(row["null"] for row in rows):
        own = [row for row in rows if row["null"] == null]
        levels = entry_levels(logits, nulls[null], max(row["max_k"] for row in own))
        for row in own:
            columns = levels[:, row["min_k"] : row["max_k"]]
            row.update(_bisect(columns, row["target_k"], row["min_k"])._asdict())
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def read_budget(path: str | Path, *, null: str, min_k: int, max_k: int, target_k: float) -> Budget:
    """The budget solved for these settings; InputError where the table at `path` has none."""
    wanted = {"null": null, "min_k": min_k, "max_k": max_k, "target_k": float(target_k)}
    for row in read_table(path, columns=_SCHEMA.names).to_pylist():
        if all(row[name] == value for name, value in wanted.items()):
            return Budget(row["alpha"], row["mean_experts"])
    asked = ", ".join(f"{name} {value}" for name, value in wanted.items())
    raise InputError(f"budget: {path} has none for {asked}: solve it again")


def entry_levels(logits: Sequence[np.ndarray], null: Sequence[NullDistribution], max_k: int) -> np.ndarray:
    """The least alpha at which BH rejects at least k of a token's E experts, k = 1..max_k: float64 [rows, max_k].

    It is the minimum over j >= k of E p_(j) / j, the adjusted p-value of the k-th smallest. Rows are the tokens of
    the first layer, of the second, and so on.
    """
    return np.concatenate([_entry_levels(one, null[layer], max_k) for layer, one in enumerate(logits)])


def _entry_levels(logits: np.ndarray, null: NullDistribution, max_k: int) -> np.ndarray:
    num_experts = logits.shape[-1]
    if max_k > num_experts:
        raise InputError(f"budget: max_k is {max_k} but there are {num_experts} experts, lower max_k")
    p = p_values(np.sort(logits, axis=-1)[:, ::-1], null)  # ascending
    levels = p * num_experts / np.arange(1, num_experts + 1)
    return np.minimum.accumulate(levels[:, ::-1], axis=-1)[:, ::-1][:, :max_k].copy()


def _bisect(levels: np.ndarray, target_k: float, min_k: int) -> Budget:
    """`levels` [rows, k from min_k + 1 to max_k]: the least alpha that gives a row its k-th expert."""
    rows, width = levels.shape
    levels = np.sort(levels, axis=None)

    def mean(alpha: float) -> float:
        return min_k + float(np.searchsorted(levels, alpha, side="right")) / rows

    low, high = _SMALLEST, float(np.nextafter(1.0, 0.0))
    if not mean(low) <= target_k <= mean(high):
        raise InputError(
            f"budget: a mean of {target_k:g} experts is out of reach, alpha from 0 to 1 gives {mean(low):.2f} to "
            f"{mean(high):.2f} with min_k {min_k} and max_k {min_k + width}; choose a target between them"
        )
    while high - low > _PRECISION * high:
        middle = (low + high) / 2.0
        low, high = (low, middle) if mean(middle) >= target_k else (middle, high)
    return min(
        (Budget(alpha, mean(alpha)) for alpha in (low, high)),
        key=lambda budget: abs(budget.mean_experts - target_k),
    )
