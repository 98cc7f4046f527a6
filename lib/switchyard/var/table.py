"""The routing table: for each layer and token id, the experts that it is routed to most, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import orjson
import pyarrow as pa
import torch
from torch import Tensor

from switchyard.errors import InputError
from switchyard.observation.ceiling import check_top_k, most_used
from switchyard.observation.counts import CountTable
from switchyard.observation.input_tables import need, read_table, whole_numbers

WANTED = ("token_id", "frequency", "mean_entropy")
"""Columns of routing statistics without which there is no table."""

_KNOWN = (*WANTED, "layer", "token_str", "routing_consistency", "consistency", "experts", "weights")
_PHASE_1 = ("top_expert", "mean_confidence")
_REMEDY = "--counts expert_counts.parquet"


def routing_table(
    stats: pa.Table,
    *,
    top_k: int,
    normalise: bool,
    counts: pa.Table | None = None,
    num_experts: int | None = None,
    place: str = "routing statistics",
) -> pa.Table:
    """`layer, token_id, token_str, frequency, mean_entropy, consistency, experts, weights`, one row per row of `stats`.

    `experts` [top_k] and `weights` [top_k] come from the columns of that name. Where `stats` lacks them, experts are
    the most used ones of `counts` (ties to the lower index), and weights are null: how often an expert was used says
    nothing of its probability, so that such a table serves live weights alone. For `top_k` 1 the column `top_expert`
    will do; its weight is 1 where the model normalises, else the mean confidence. Without a column `layer` the rows
    serve all layers, and the table lacks it too. A routing table is returned as it is.

    Args:
        stats: routing statistics as `observe` writes them, those of another program, or a routing table.
        top_k: experts that the model was trained to use.
        normalise: whether the model makes their weights sum to 1.
        counts: `layer, domain, token_id, expert, count`, as `observe` writes them.
        num_experts: experts of a layer; an expert beyond them is refused.
        place: the file, for messages.

    Raises:
        InputError: a column is missing, holds what it cannot, or says too little for this model.
    """
    need(stats.column_names, WANTED, place, "routing statistics")
    columns = {name: whole_numbers(stats, name, place) for name in ("token_id", "frequency")}
    if "layer" in stats.column_names:
        columns = {"layer": whole_numbers(stats, "layer", place), **columns}
    _refuse_repeats(columns, place)
    entropy = stats["mean_entropy"].to_numpy().astype(np.float64)
    if np.isnan(entropy).any() or (entropy < 0).any():
        raise InputError(
            f"{place}: column mean_entropy has cells that are no entropy; give nats from 0 upwards"
        )
    if "experts" in stats.column_names:
        experts, weights = _listed(stats, top_k, place)
    elif counts is not None:
        experts, weights = _counted(columns, counts, top_k, num_experts, place)
        weights = np.ones_like(experts, np.float64) if top_k == 1 and normalise else weights
    else:
        experts, weights = _top_expert(stats, top_k, normalise, place)
    _refuse_experts(experts, num_experts, place)
    consistency = next(
        (name for name in ("consistency", "routing_consistency") if name in stats.column_names), None
    )
    rows = len(entropy)
    found = {
        **{name: pa.array(values.astype(np.int64)) for name, values in columns.items()},
        "token_str": stats["token_str"] if "token_str" in stats.column_names else pa.nulls(rows, pa.string()),
        "mean_entropy": pa.array(entropy),
        "consistency": stats[consistency] if consistency else pa.nulls(rows, pa.float64()),
        "experts": _lists(experts.astype(np.int16)),
        "weights": pa.nulls(rows, pa.list_(pa.float64())) if weights is None else _lists(weights),
    }
    order = (
        "layer",
        "token_id",
        "token_str",
        "frequency",
        "mean_entropy",
        "consistency",
        "experts",
        "weights",
    )
    return pa.table({name: found[name] for name in order if name in found})


def read_routing_table(
    path: str | Path,
    *,
    top_k: int,
    normalise: bool,
    counts: str | Path | None = None,
    num_experts: int | None = None,
) -> RoutingTable:
    """`routing_table` of a file, Parquet or CSV, ready for a router."""
    stats = read_table(path, (*_KNOWN, *_PHASE_1))
    counted = None if counts is None else read_table(counts)
    settings = {"top_k": top_k, "normalise": normalise, "num_experts": num_experts}
    return RoutingTable.of(routing_table(stats, counts=counted, place=str(path), **settings), place=str(path))


def table_for_model(
    path: str | Path, structure: Mapping[str, Any], *, counts: str | Path | None = None
) -> RoutingTable:
    """`read_routing_table` for a model of this structure (`switchyard.models.blocks.describe`).

    Raises:
        InputError: the file says too little, or is of another model.
    """
    sizes = {name: structure[name] for name in ("top_k", "normalise", "num_experts")}
    table = read_routing_table(path, counts=counts, **sizes)
    table.check_model(layers=structure["num_layers"], vocabulary=structure["vocab_size"])
    return table


class OnDevice(NamedTuple):
    """The table as dense tensors on one device: R layers and a blank one, V token ids and a blank one."""

    frequency: Tensor  # int64 [R + 1, V + 1], 0 where the table has no row
    mean_entropy: Tensor  # float32 [R + 1, V + 1], infinite where the table has no row
    experts: Tensor  # int16 [R + 1, V + 1, top_k]
    weights: Tensor  # float32 [R + 1, V + 1, top_k]


class RoutingTable:
    """A routing table that a router can look into; it does not change, and its tensors are made once per device."""

    def __init__(
        self, layers: Sequence[int] | None, rows: OnDevice, *, has_weights: bool, place: str = "routing table"
    ) -> None:
        self.layers = None if layers is None else tuple(layers)
        """Layers that have rows of their own; None where all layers share them."""
        self.has_weights = has_weights
        self.place = place
        self.top_k: int = rows.experts.shape[-1]
        self.most_experts = int(rows.experts.max()) + 1
        """Experts that a layer must have at least."""
        self.token_ids = rows.frequency.shape[1] - 1
        """The largest token id with a row, + 1."""
        self._row = {layer: row for row, layer in enumerate(self.layers or ())}
        self._devices = {torch.device("cpu"): rows}
        self._eligible: dict[torch.device, tuple[tuple[float, float], Tensor | None]] = {}

    @classmethod
    def of(cls, table: pa.Table, *, place: str = "routing table") -> Self:
        """Make dense tensors of what `routing_table` gives.

        Raises:
            InputError: it has no row, or lists of different lengths.
        """
        need(table.column_names, (*WANTED, "experts", "weights"), place, "a routing table")
        if not len(table):
            raise InputError(f"{place}: has no row; observe more text, or route without a table")
        token = whole_numbers(table, "token_id", place)
        layer = (
            whole_numbers(table, "layer", place) if "layer" in table.column_names else np.zeros_like(token)
        )
        layers, row = np.unique(layer, return_inverse=True)
        experts = _matrix(table["experts"], "experts", place)
        has_weights = not table["weights"].null_count
        weights = _matrix(table["weights"], "weights", place) if has_weights else np.zeros(experts.shape)
        if weights.shape != experts.shape:
            raise InputError(f"{place}: experts and weights have different lengths; make the table again")
        _refuse_experts(experts, None, place)
        size = (len(layers) + 1, int(token.max()) + 2)
        rows = OnDevice(
            _dense(size, row, token, whole_numbers(table, "frequency", place), 0),
            _dense(size, row, token, table["mean_entropy"].to_numpy().astype(np.float32), np.inf),
            _dense((*size, experts.shape[1]), row, token, experts.astype(np.int16), 0),
            _dense((*size, experts.shape[1]), row, token, weights.astype(np.float32), 0.0),
        )
        own = [int(one) for one in layers] if "layer" in table.column_names else None
        return cls(own, rows, has_weights=has_weights, place=place)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a `routing_table.parquet`."""
        return cls.of(read_table(path, _KNOWN), place=str(path))

    @classmethod
    def without_key(
        cls, counts: pa.Table, *, top_k: int, num_experts: int | None = None, place: str = "counts"
    ) -> Self:
        """Each layer's `top_k` most used experts (ties to the lower index) for every token id, without weights.

        `counts`: `layer, domain, token_id, expert, count`, as `observe` writes them. Every token id is eligible from a
        frequency threshold of 0 and an entropy threshold above 0.

        Raises:
            InputError: the counts are none, or of fewer experts than `top_k`.
        """
        table = CountTable.of(counts, num_experts=num_experts, place=place)
        check_top_k(top_k, table.num_experts, place)
        uses, layers, _ = table.counts("layer")
        blank = (len(layers) + 1, 1)  # ids beyond the last one of a table stand in its blank column
        experts = np.zeros((*blank, top_k), np.int16)
        for run, block in uses.blocks():
            experts[:-1][run] = most_used(block.sum(axis=0), top_k)[:, None]
        entropy = np.zeros(blank, np.float32)
        entropy[-1] = np.inf
        rows = OnDevice(
            torch.zeros(blank, dtype=torch.int64),
            torch.from_numpy(entropy),
            torch.from_numpy(experts),
            torch.zeros((*blank, top_k)),
        )
        return cls(layers[:, 0].tolist(), rows, has_weights=False, place=place)

    def on(self, device: torch.device) -> OnDevice:
        """The tensors on a device, where they stay."""
        if device not in self._devices:
            with torch.inference_mode(False):
                self._devices[device] = OnDevice(
                    *(one.to(device) for one in self._devices[torch.device("cpu")])
                )
        return self._devices[device]

    def eligible(self, device: torch.device, frequency: float, entropy: float) -> Tensor | None:
        """Which token ids may take the fast path, bool [R + 1, V + 1]; None where none may.

        Those of at least `frequency` occurrences whose mean entropy is below `entropy`, compared in float32. Kept until
        other thresholds are asked for.
        """
        wanted = (frequency, entropy)
        if device not in self._eligible or self._eligible[device][0] != wanted:
            rows = self.on(device)
            with torch.inference_mode(False):
                mask = (rows.frequency >= frequency) & (rows.mean_entropy < entropy)
            self._eligible[device] = wanted, mask if mask.any() else None
        return self._eligible[device][1]

    def check_model(self, *, layers: int, vocabulary: int) -> None:
        """Refuse the table of a model with more layers or token ids.

        Raises:
            InputError: naming the layer or the token id.
        """
        if self.layers and self.layers[-1] >= layers:
            raise InputError(
                f"{self.place}: has layer {self.layers[-1]}, the model has {layers} MoE blocks; give a table of this "
                "model"
            )
        if self.token_ids > vocabulary:
            raise InputError(
                f"{self.place}: has token id {self.token_ids - 1}, the model's vocabulary has {vocabulary}; give a "
                "table of this model"
            )

    def row(self, layer: int) -> int:
        """The first index of a layer in the tensors; the blank one for a layer without rows."""
        return 0 if self.layers is None else self._row.get(layer, len(self._row))


def _dense(
    size: tuple[int, ...], row: np.ndarray, token: np.ndarray, values: np.ndarray, blank: float
) -> Tensor:
    dense = np.full(size, blank, values.dtype)
    dense[row, token] = values
    return torch.from_numpy(dense)


def _listed(stats: pa.Table, top_k: int, place: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Experts and weights [rows, top_k] as they stand in the file."""
    experts = _matrix(stats["experts"], "experts", place)
    if experts.shape[1] != top_k and len(experts):
        raise InputError(
            f"{place}: lists {experts.shape[1]} experts for a token, the model uses {top_k}; observe this model"
        )
    if "weights" not in stats.column_names or stats["weights"].null_count:
        return experts, None
    return experts, _matrix(stats["weights"], "weights", place)


def _counted(
    columns: dict[str, np.ndarray], counts: pa.Table, top_k: int, num_experts: int | None, place: str
) -> tuple[np.ndarray, None]:
    """The most used experts [rows, top_k], of the row's layer or, where it has none, over all layers."""
    table = CountTable.of(counts, num_experts=num_experts, place=f"counts for {place}")
    if top_k > table.num_experts:
        raise InputError(
            f"{place}: its counts have {table.num_experts} experts, the model uses {top_k}; give counts of this model"
        )
    by = [name for name in ("layer", "token_id") if name in columns]
    uses, keys, _ = table.counts(*by)
    number = {tuple(key): one for one, key in enumerate(keys.tolist())}
    wanted = [number.get(key, -1) for key in zip(*(columns[name].tolist() for name in by), strict=True)]
    if -1 in wanted:
        row = wanted.index(-1)
        named = ", ".join(f"{name} {columns[name][row]}" for name in by)
        raise InputError(f"{place}: the counts lack {named}; give {_REMEDY} of the same run")
    ranked = np.empty((len(keys), top_k), np.int64)
    for run, block in uses.blocks():  # [domains, keys of the run, experts]
        ranked[run] = np.argsort(-block.sum(axis=0), axis=1, kind="stable")[:, :top_k]
    return ranked[wanted], None


def _top_expert(
    stats: pa.Table, top_k: int, normalise: bool, place: str
) -> tuple[np.ndarray, np.ndarray | None]:
    if top_k != 1 or "top_expert" not in stats.column_names:
        had = "one expert" if "top_expert" in stats.column_names else "no experts"
        raise InputError(
            f"{place}: names {had} for a token, the model uses {top_k}; give {_REMEDY} (`counts` in "
            "Python), or observe the model again"
        )
    experts = whole_numbers(stats, "top_expert", place)[:, None]
    if normalise:
        return experts, np.ones(experts.shape)
    if "mean_confidence" not in stats.column_names:
        return experts, None
    return experts, stats["mean_confidence"].to_numpy().astype(np.float64)[:, None]


def _refuse_repeats(columns: dict[str, np.ndarray], place: str) -> None:
    keys = np.stack([columns[name] for name in ("layer", "token_id") if name in columns], axis=1)
    if len(np.unique(keys, axis=0)) < len(keys):
        remedy = (
            "give one row per layer and token id"
            if "layer" in columns
            else "name the layers in a column `layer`"
        )
        raise InputError(f"{place}: a token id has several rows; {remedy}")


def _refuse_experts(experts: np.ndarray, num_experts: int | None, place: str) -> None:
    if not experts.size:
        return
    ordered = np.sort(experts, axis=1)
    if (
        (ordered[:, 1:] == ordered[:, :-1]).any()
        or ordered.min() < 0
        or ordered.max() > np.iinfo(np.int16).max
    ):
        raise InputError(
            f"{place}: experts of a token repeat or are no experts; give distinct indices from 0"
        )
    if num_experts is not None and ordered.max() >= num_experts:
        raise InputError(
            f"{place}: expert {ordered.max()} is not below the model's {num_experts}; give statistics of this model"
        )


def _matrix(column: pa.ChunkedArray, name: str, place: str) -> np.ndarray:
    """A column of lists of one length as [rows, length]."""
    if pa.types.is_string(column.type) and not column.null_count:  # a CSV
        column = _from_json(column, name, place)
    if column.null_count or not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        raise InputError(f"{place}: column {name} holds no lists; observe the model again")
    lists = column.combine_chunks()
    lengths = np.diff(lists.offsets.to_numpy())
    values = lists.flatten()
    if len(set(lengths.tolist())) > 1 or values.null_count:
        raise InputError(f"{place}: column {name} has lists of different lengths; observe the model again")
    return values.to_numpy(zero_copy_only=False).reshape(len(lengths), -1)


def _from_json(column: pa.ChunkedArray, name: str, place: str) -> pa.ChunkedArray:
    """Lists that stand as JSON in the cells of a CSV."""
    try:
        return pa.chunked_array([pa.array([orjson.loads(cell) for cell in column.to_pylist()])])
    except (orjson.JSONDecodeError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(f"{place}: column {name} holds no lists; give routing_stats.parquet") from error


def _lists(values: np.ndarray) -> pa.Array:
    """[rows, length] as a column of lists."""
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1)))
