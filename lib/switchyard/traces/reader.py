"""Reading traces: sequence by sequence, as arrays, with p-values on request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from switchyard.artifacts.files import VERIFIED, read_stamp, readable
from switchyard.errors import InputError
from switchyard.models.scores import Scores
from switchyard.traces.schema import COLUMNS, LOGITS

if TYPE_CHECKING:
    from switchyard.routing.nulls import NullDistribution


@dataclass(frozen=True)
class TraceSlice:
    """Consecutive rows of a trace as arrays; R rows, P chosen (row, expert) pairs.

    `experts` and `weights` are flat: row r owns `offsets[r]:offsets[r + 1]` of them.
    """

    sample_id: np.ndarray  # [R] int32
    sequence: np.ndarray  # [R] int16
    layer: np.ndarray  # [R] int16
    position: np.ndarray  # [R] int32
    token_id: np.ndarray  # [R] int32
    count: np.ndarray  # [R] int16
    rejections: np.ndarray | None  # [R] int16, None for rules without tests
    offsets: np.ndarray  # [R + 1] int64, into experts and weights
    experts: np.ndarray  # [P] int16
    weights: np.ndarray  # [P] float32
    router_logits: np.ndarray | None  # [R, E] float32, None where the trace leaves them out

    def __len__(self) -> int:
        return len(self.count)

    def rows(self, start: int, stop: int) -> TraceSlice:
        """Rows start..stop-1 as views."""
        first, last = self.offsets[start], self.offsets[stop]
        optional = {name: getattr(self, name) for name in ("rejections", "router_logits")}
        return TraceSlice(
            **{name: getattr(self, name)[start:stop] for name in _PLAIN},
            **{name: None if values is None else values[start:stop] for name, values in optional.items()},
            offsets=self.offsets[start : stop + 1] - first,
            experts=self.experts[first:last],
            weights=self.weights[first:last],
        )

    def split(self, *keys: str) -> Iterator[TraceSlice]:
        """The runs of rows on which the columns `keys` do not change, in file order."""
        if not len(self):
            return
        changed = np.zeros(len(self) - 1, bool)
        for key in keys:
            changed |= np.diff(getattr(self, key)) != 0
        edges = [0, *(np.flatnonzero(changed) + 1).tolist(), len(self)]
        for start, stop in pairwise(edges):
            yield self.rows(start, stop)


_PLAIN = ("sample_id", "sequence", "layer", "position", "token_id", "count")


class Trace:
    """A trace file. Opening it reads the footer only.

    Raises:
        InputError: the file is damaged, or lacks a column of a trace.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with readable(self.path):
            self._file = pq.ParquetFile(self.path, **VERIFIED)
        missing = [name for name in COLUMNS if name not in self._file.schema_arrow.names]
        if missing:
            raise InputError(
                f"{self.path}: not a trace, column {missing[0]} is missing; give a file of evaluate/<model>/traces"
            )
        self.rows: int = self._file.metadata.num_rows
        self.has_logits: bool = LOGITS in self._file.schema_arrow.names

    @cached_property
    def stamp(self) -> dict:
        """The run stamp, with `num_experts` and `num_layers`."""
        return read_stamp(self.path)

    @cached_property
    def scores(self) -> Scores:
        """What `router_logits` are."""
        return Scores.from_metadata(self._file.schema_arrow.metadata)

    @property
    def num_experts(self) -> int:
        """Experts per MoE block."""
        return self.stamp["num_experts"]

    @property
    def num_layers(self) -> int:
        """MoE blocks of the model."""
        return self.stamp["num_layers"]

    def forwards(self) -> Iterator[TraceSlice]:
        """The forwards in the order they ran, each ordered by (sample, sequence, layer, position)."""
        with readable(self.path):
            for group in range(self._file.num_row_groups):
                yield as_slice(self._file.read_row_group(group))

    def sequences(self) -> Iterator[TraceSlice]:
        """One slice per (sample, sequence) of each forward: all layers, ordered by (layer, position)."""
        for forward in self.forwards():
            yield from forward.split("sample_id", "sequence")

    def p_values(self, nulls: Sequence[NullDistribution]) -> Iterator[tuple[TraceSlice, np.ndarray]]:
        """Every slice of `sequences()` with the p-values of all its logits, float64 [R, E].

        `nulls` holds one distribution per layer: `switchyard.routing.nulls.read_nulls(path, null)`.
        Raises InputError where the trace leaves the logits out.
        """
        for one in self.sequences():
            yield one, slice_p_values(one, nulls, self.path, scores=self.scores)


def slice_p_values(
    rows: TraceSlice,
    nulls: Sequence[NullDistribution],
    place: Path | str = "trace",
    *,
    scores: Scores | None = None,
) -> np.ndarray:
    """p = 1 - F_layer(logit) of every logit, float64 [R, E]; 1 for experts that `scores` leaves out of the choice.

    Raises:
        InputError: the trace has no router logits.
    """
    if rows.router_logits is None:
        raise InputError(
            f"{place}: holds no router logits, so no p-values; set keep_logits and evaluate again"
        )
    logits = rows.router_logits if scores is None else scores.eligible(rows.router_logits)
    result = np.empty(logits.shape, np.float64)
    for layer in np.unique(rows.layer):
        here = rows.layer == layer
        result[here] = 1.0 - nulls[layer].cdf_at(logits[here].astype(np.float64))
    return result


def as_slice(table: pa.Table) -> TraceSlice:
    """Arrow rows of a trace as NumPy arrays."""
    table = table.combine_chunks()
    plain = {name: table[name].to_numpy() for name in _PLAIN}
    experts, weights = (_single(table[name]) for name in ("experts", "weights"))
    offsets = np.asarray(experts.offsets, np.int64)
    rejections = table["rejections"]
    return TraceSlice(
        **plain,
        rejections=rejections.to_numpy() if rejections.null_count == 0 else None,
        offsets=offsets - offsets[0],
        experts=experts.flatten().to_numpy(zero_copy_only=False),
        weights=weights.flatten().to_numpy(zero_copy_only=False),
        router_logits=_logits(table) if LOGITS in table.schema.names else None,
    )


def _single(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _logits(table: pa.Table) -> np.ndarray:
    column = _single(table[LOGITS])
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
