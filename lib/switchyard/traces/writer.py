"""Streaming trace writer: holds two forward passes in memory, never the experiment."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from switchyard.artifacts.files import STAMP_KEY, atomic
from switchyard.errors import InputError
from switchyard.models.scores import Scores
from switchyard.traces.schema import LOGITS, PATH, trace_schema, write_options

if TYPE_CHECKING:
    from torch import Tensor

    from switchyard.routing.selection import Selection, TokenContext


_ORDER = ("sample_id", "sequence", "layer", "position")
"""Columns that the rows of a group are in order of."""


class _Layer(NamedTuple):
    """One layer of one forward, padding removed; T tokens, P chosen pairs."""

    keys: dict[str, np.ndarray]  # sample_id, sequence, position, token_id: [T]
    count: np.ndarray  # [T]
    rejections: np.ndarray | None  # [T]
    path: np.ndarray | None  # [T] int8
    experts: np.ndarray  # [P] int16
    weights: np.ndarray  # [P] float32
    logits: np.ndarray | None  # [T, E] float32


class TraceWriter:
    """Write `path` from the observations of `attach`; the file appears under its name only when complete.

    Each forward becomes one row group (none where it held padding only), ordered by sample, sequence, layer
    and position. With `group_rows` forwards are put together until they have that many rows: those of a decoder hold
    one token of a sequence each. A thread orders and writes a forward while the model runs the next one. Padding is
    dropped. The metadata stamp holds `num_experts` and `num_layers` beside `stamp`.
    `has_paths` is for rules whose selections say a path. `scores` says what the logits of a family are that is not
    softmax, then top-k; it stands in the metadata, too. `rows` counts the rows observed so far.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        num_experts: int,
        num_layers: int,
        keep_logits: bool = True,
        has_paths: bool = False,
        scores: Scores | None = None,
        stamp: dict[str, Any] | None = None,
        group_rows: int = 1,
    ) -> None:
        self.path, self.group_rows = Path(path), group_rows
        self._waiting: list[pa.Table] = []
        self.num_experts, self.num_layers, self.keep_logits = num_experts, num_layers, keep_logits
        self.rows = 0
        metadata = {"num_experts": num_experts, "num_layers": num_layers, **(stamp or {})}
        self._schema = trace_schema(num_experts, keep_logits, has_paths).with_metadata(
            {STAMP_KEY: orjson.dumps(metadata), **(scores or Scores()).metadata()}
        )
        self._forward: dict[int, _Layer] = {}
        self._keys: tuple[TokenContext, np.ndarray, dict[str, np.ndarray]] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="trace")
        self._written: Future[None] | None = None
        self._atomic: AbstractContextManager[Path] | None = None
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        self._atomic = atomic(self.path)
        self._writer = pq.ParquetWriter(self._atomic.__enter__(), self._schema, **write_options(self._schema))
        return self

    def __exit__(self, *failure: object) -> None:
        try:
            self._thread.shutdown()
            if failure[0] is None:
                self._wait()
                self._write()
            self._writer.close()
            if failure[0] is None and self._forward:
                raise InputError(
                    f"trace {self.path.name}: the last forward reached {len(self._forward)} of "
                    f"{self.num_layers} layers; give TraceWriter the number of MoE blocks of the attached model"
                )
        except BaseException as error:
            self._atomic.__exit__(type(error), error, error.__traceback__)
            raise
        self._atomic.__exit__(*failure)

    def observe(self, layer: int, logits: Tensor, selection: Selection, context: TokenContext) -> None:
        """Take one layer of a forward (an `attach` observer); the last layer to come hands the forward to the thread.

        Shapes: logits [tokens, num_experts]; experts and weights of `selection` [tokens, slots]; all else
        [tokens].

        Raises:
            InputError: a layer came twice before all layers had come.
            OSError: a forward before could not be written.
        """
        if layer in self._forward:
            raise InputError(
                f"trace {self.path.name}: layer {layer} came twice before all {self.num_layers} layers had "
                "come; give TraceWriter the number of MoE blocks of the attached model"
            )
        if self._keys is None or self._keys[0] is not context:  # the same for all layers on a device
            self._keys = context, *_keys(context)
        _, real, keys = self._keys
        self._forward[layer] = _without_padding(
            logits if self.keep_logits else None, selection, real, keys, PATH in self._schema.names
        )
        if len(self._forward) == self.num_layers:
            self._flush()

    def _flush(self) -> None:
        layers = [self._forward[layer] for layer in sorted(self._forward)]
        numbers = sorted(self._forward)
        self._forward, self._keys = {}, None
        self.rows += sum(len(one.count) for one in layers)
        self._wait()
        self._written = self._thread.submit(self._add, layers, numbers)

    def _wait(self) -> None:
        """Wait until the thread is done with the last forward; raises what went wrong there."""
        if self._written is not None:
            self._written.result()

    def _add(self, layers: list[_Layer], numbers: list[int]) -> None:
        """Put a forward in order, and write a row group where enough of them wait; runs in the thread."""
        table = _as_table(layers, numbers, self._schema, self.num_experts)
        if table.num_rows:
            self._waiting.append(table)
        if sum(one.num_rows for one in self._waiting) >= self.group_rows:
            self._write()

    def _write(self) -> None:
        """Write what waits as one row group."""
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        if len(self._waiting) > 1:
            order = np.lexsort([table[name].to_numpy() for name in reversed(_ORDER)])
            table = table.take(pa.array(order))
        self._writer.write_table(table, row_group_size=table.num_rows)
        self._waiting = []


_NARROW = {np.bool_: torch.bool, np.int8: torch.int8, np.int16: torch.int16, np.int32: torch.int32}


def _array(tensor: Tensor, dtype: type) -> np.ndarray:
    """The tensor on the host. Integers are made narrow on the device, floats wide on the host: a bus carries less.

    NumPy has no bfloat16, so that floats go through float32.
    """
    tensor = tensor.detach()
    tensor = tensor.cpu().float() if tensor.is_floating_point() else tensor.to(_NARROW[dtype]).cpu()
    return tensor.numpy().astype(dtype, copy=False)


def _keys(context: TokenContext) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Which rows are tokens [tokens], and the keys of those [T]."""
    real = _array(context.is_token, np.bool_)
    keys = {
        "sample_id": _array(context.sample, np.int32)[real],
        "sequence": _array(context.sequence, np.int16)[real],
        "position": _array(context.position, np.int32)[real],
        "token_id": _array(context.token_id, np.int32)[real],
    }
    return real, keys


def _without_padding(
    logits: Tensor | None,
    selection: Selection,
    real: np.ndarray,
    keys: dict[str, np.ndarray],
    has_paths: bool,
) -> _Layer:
    count = _array(selection.count, np.int16)[real]
    experts = _array(selection.experts, np.int16)[real]  # [T, slots]
    used = np.arange(experts.shape[1]) < count[:, None]
    return _Layer(
        keys=keys,
        count=count,
        rejections=None if selection.rejections is None else _array(selection.rejections, np.int16)[real],
        path=_array(selection.path, np.int8)[real] if has_paths else None,
        experts=experts[used],
        weights=_array(selection.weights, np.float32)[real][used],
        logits=None if logits is None else _array(logits, np.float32)[real],
    )


def _as_table(layers: list[_Layer], numbers: list[int], schema: pa.Schema, num_experts: int) -> pa.Table:
    """One forward as a table ordered by (sample, sequence, layer, position)."""
    columns = {name: np.concatenate([one.keys[name] for one in layers]) for name in layers[0].keys}
    columns["layer"] = np.repeat(np.array(numbers, np.int16), [len(one.count) for one in layers])
    columns["count"] = np.concatenate([one.count for one in layers])
    order = np.lexsort((columns["position"], columns["layer"], columns["sequence"], columns["sample_id"]))
    arrays: dict[str, pa.Array] = {name: pa.array(values[order]) for name, values in columns.items()}
    arrays["rejections"] = _rejections(layers, order)

    if PATH in schema.names:
        arrays[PATH] = pa.array(np.concatenate([one.path for one in layers])[order])
    pairs, offsets = _pairs_in_order(columns["count"], order)
    for name in ("experts", "weights"):
        flat = np.concatenate([getattr(one, name) for one in layers])[pairs]
        arrays[name] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat))
    if LOGITS in schema.names:
        flat = np.concatenate([one.logits for one in layers])[order].reshape(-1)
        arrays[LOGITS] = pa.FixedSizeListArray.from_arrays(pa.array(flat), num_experts)
    return pa.Table.from_arrays([arrays[name] for name in schema.names], schema=schema)


def _rejections(layers: list[_Layer], order: np.ndarray) -> pa.Array:
    if any(one.rejections is None for one in layers):
        return pa.nulls(len(order), pa.int16())
    return pa.array(np.concatenate([one.rejections for one in layers])[order])


def _pairs_in_order(count: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the (token, expert) pairs when tokens are taken in `order`, and the new list offsets."""
    starts = np.cumsum(count, dtype=np.int64) - count
    lengths = count[order].astype(np.int64)
    offsets = np.zeros(len(order) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    pairs = np.arange(offsets[-1]) + np.repeat(starts[order] - offsets[:-1], lengths)
    return pairs, offsets
