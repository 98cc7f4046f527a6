"""Null distributions of router logits: their CDF, p-values, critical logits, and the table that keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from switchyard.artifacts.files import read_table
from switchyard.errors import InputError

_SCHEMA = pa.schema(
    [("layer", pa.int16()), ("null", pa.string()), ("logit", pa.float64()), ("cdf", pa.float64())]
)


@dataclass(frozen=True, eq=False)
class NullDistribution:
    """A CDF F on strictly increasing grid logits: linear between them, 0 below the first, 1 above the last.

    Raises:
        InputError: lists empty or of two shapes, logits that do not increase, a CDF that decreases or leaves 0..1.
    """

    logit: np.ndarray
    """float64 [points], strictly increasing."""
    cdf: np.ndarray
    """float64 [points], non-decreasing within [0, 1]."""

    def __post_init__(self) -> None:
        for name in ("logit", "cdf"):
            values = np.array(getattr(self, name), dtype=np.float64)
            values.setflags(write=False)
            object.__setattr__(self, name, values)
        self._check()

    def _check(self) -> None:
        logit, cdf = self.logit, self.cdf
        if logit.ndim != 1 or logit.shape != cdf.shape or not logit.size:
            raise InputError(
                f"null: logit {logit.shape} and cdf {cdf.shape} must be two lists of one length, not empty"
            )
        if not np.isfinite(logit).all() or (np.diff(logit) <= 0).any():
            raise InputError("null: the grid logits must be finite and strictly increasing, calibrate again")
        if not (np.diff(cdf) >= 0).all() or not (cdf[0] >= 0.0 and cdf[-1] <= 1.0):
            raise InputError("null: the cdf must not decrease and must stay within 0 and 1, calibrate again")

    def cdf_at(self, x: np.ndarray | float) -> np.ndarray:
        """F(x), float64, for values of any shape [...]; monotone in floating point too.

        Interpolation may round above the value at the right end of its segment; the minimum takes that back.
        """
        x = np.asarray(x, dtype=np.float64)
        end = np.searchsorted(self.logit, x, side="left")
        ceiling = np.append(self.cdf, 1.0)[end]
        return np.minimum(np.interp(x, self.logit, self.cdf, left=0.0, right=1.0), ceiling)

    def critical_logits(self, alpha: float, num_experts: int, *, dtype: type = np.float64) -> np.ndarray:
        """For k = 1..num_experts the smallest value x of `dtype` with `1.0 - F(x) <= alpha * k / num_experts`.

        Found by bisection over the representable float64 numbers with that very predicate, so that `x >= critical`
        is the predicate and not an approximation of it. Returns `dtype` [num_experts], non-increasing.
        """
        level = alpha * np.arange(1, num_experts + 1) / num_experts
        low = np.full(num_experts, _to_ordinal(np.float64(-np.inf)))
        high = np.full(num_experts, _to_ordinal(np.nextafter(self.logit[-1], np.inf)))
        while (low < high).any():
            middle = (low >> 1) + (high >> 1) + (low & high & 1)
            rejected = 1.0 - self.cdf_at(_from_ordinal(middle)) <= level
            high = np.where(rejected, middle, high)
            low = np.where(rejected, low, middle + 1)
        return _round_up(_from_ordinal(high), dtype)


def p_values(logits: np.ndarray, null: NullDistribution) -> np.ndarray:
    """1 - F(logit), float64, in the shape [...] of `logits`."""
    return 1.0 - null.cdf_at(logits)


def nulls_table(layers: Sequence[Mapping[str, NullDistribution]]) -> pa.Table:
    """The table `layer, null, logit, cdf` of one model: `layers[l]` maps the names of layer l's nulls to them."""
    parts = [
        pa.table(
            [np.full(null.logit.size, layer), [name] * null.logit.size, null.logit, null.cdf],
            names=_SCHEMA.names,
        )
        for layer, nulls in enumerate(layers)
        for name, null in nulls.items()
    ]
    return pa.concat_tables(part.cast(_SCHEMA) for part in parts)


def read_nulls(path: str | Path, null: str) -> list[NullDistribution]:
    """The null called `null` of every layer, from the table of one model.

    Raises InputError where the table has no null of that name or lacks a layer.
    """
    table = read_table(path, columns=_SCHEMA.names)
    names = pc.unique(table["null"]).to_pylist()
    if null not in names:
        raise InputError(f"null {null!r} is not in {path}: use one of {', '.join(names)}")
    rows = table.filter(pc.equal(table["null"].cast(pa.string()), null)).sort_by(
        [("layer", "ascending"), ("logit", "ascending")]
    )
    layer, logit, cdf = (rows[name].to_numpy() for name in ("layer", "logit", "cdf"))
    layers, starts = np.unique(layer, return_index=True)
    if not np.array_equal(layers, np.arange(layers.size)):
        raise InputError(
            f"null {null!r} in {path} has layers {layers.tolist()}, not all from 0: calibrate again"
        )
    return [
        NullDistribution(*part)
        for part in zip(np.split(logit, starts[1:]), np.split(cdf, starts[1:]), strict=True)
    ]


def _to_ordinal(x: np.float64) -> np.int64:
    """The place of a float64 among all float64 in ascending order."""
    bits = np.float64(x).view(np.int64)
    return bits if bits >= 0 else np.int64(-(2**63)) - bits


def _from_ordinal(ordinal: np.ndarray) -> np.ndarray:
    """The float64 at each place, the inverse of `_to_ordinal`."""
    bits = np.where(ordinal >= 0, ordinal, np.int64(-(2**63)) - ordinal)
    return bits.view(np.float64)


def _round_up(x: np.ndarray, dtype: type) -> np.ndarray:
    """The smallest value of `dtype` that is not below x."""
    with np.errstate(over="ignore"):
        near = x.astype(dtype)
        return np.where(near.astype(np.float64) < x, np.nextafter(near, dtype(np.inf)), near)
