"""What is measured on all router logits of a row, for SQL to count: entropies and overlaps with the trained top-k.

SQL could measure them too, but took three to four times as long: its lists know no sort and no exponential of many
numbers at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from switchyard.artifacts.files import VERIFIED
from switchyard.models.scores import Scores
from switchyard.traces.schema import LOGITS
from switchyard.warehouse.database import THREADS

ROWS_READ, ROWS_CACHED = 8192, 512
"""Rows that are read at once; rows whose intermediate arrays stay in a processor's cache."""

_COLUMNS = ["layer", "count", "experts", LOGITS]

MEASURES = pa.schema(
    [
        ("layer", pa.int16()),
        ("count", pa.int16()),
        ("nats", pa.float64()),
        ("shared", pa.int64()),
        ("tied", pa.bool_()),
    ]
)
"""Layer and count of a row, entropy of its router's probabilities, chosen experts among its trained top-k, and whether
the k-th and the (k+1)-th largest score are equal, so that the scores alone do not say what the top-k is."""


def measured(trace: Path, trained_top_k: int) -> pa.RecordBatchReader:
    """MEASURES of every row of a trace with logits, in the order of the file.

    Two row groups are read at a time; what is measured waits for its reader, 21 bytes a row.
    """
    return pa.RecordBatchReader.from_batches(MEASURES, _batches(trace, trained_top_k))


def _batches(trace: Path, trained_top_k: int) -> Iterator[pa.RecordBatch]:
    groups = range(pq.read_metadata(trace).num_row_groups)
    with ThreadPoolExecutor(THREADS) as pool:
        for batches in pool.map(partial(_row_group, trace, trained_top_k), groups):
            yield from batches


def _row_group(trace: Path, trained_top_k: int, group: int) -> list[pa.RecordBatch]:
    with pq.ParquetFile(trace, pre_buffer=False, **VERIFIED) as file:
        scores = Scores.from_metadata(file.schema_arrow.metadata)
        parts = file.iter_batches(ROWS_READ, row_groups=[group], columns=_COLUMNS, use_threads=False)
        return [_measure(part, trained_top_k, scores) for part in parts]


def _measure(rows: pa.RecordBatch, trained_top_k: int, scores: Scores) -> pa.RecordBatch:
    column = rows[LOGITS]
    logits = column.flatten().to_numpy().reshape(-1, column.type.list_size)  # [R, E]
    layer = rows["layer"].to_numpy()
    nats, trained, tied = np.empty(len(logits)), np.empty(logits.shape, bool), np.zeros(len(logits), bool)
    for start in range(0, len(logits), ROWS_CACHED):
        part = slice(start, start + ROWS_CACHED)
        seen = scores.eligible(logits[part])
        upwards = np.sort(seen, axis=1)
        nats[part] = entropies(
            upwards if scores.is_plain else _log_probabilities(logits, part, layer, scores)
        )
        trained[part] = seen >= upwards[:, -trained_top_k, None]
        if trained_top_k < logits.shape[1]:
            tied[part] = upwards[:, -trained_top_k] == upwards[:, -trained_top_k - 1]
    shared = np.minimum(chosen_among(trained, rows["experts"]), trained_top_k)
    return pa.record_batch([rows["layer"], rows["count"], nats, shared, tied], schema=MEASURES)


def _log_probabilities(logits: np.ndarray, part: slice, layer: np.ndarray, scores: Scores) -> np.ndarray:
    """Log-probabilities of the rows `part` of `logits` [R, E] but for a constant, sorted upwards."""
    return np.sort(scores.log_probabilities(logits[part], layer[part]), axis=1)


def entropies(upwards: np.ndarray) -> np.ndarray:
    """Entropy (nats) of the softmax of logits [R, E] that are sorted upwards, float64 [R].

    With p = softmax(x) and m = max(x): entropy = ln(sum exp(x - m)) - sum p (x - m), which never takes ln(0).
    """
    shifted = upwards.astype(np.float64)
    shifted -= shifted[:, -1:]
    powers = np.exp(shifted)
    total = powers.sum(axis=1)
    return np.log(total) - np.einsum("re,re->r", powers, shifted) / total


def chosen_among(marked: np.ndarray, experts: pa.ListArray) -> np.ndarray:
    """How many of each row's experts are marked in its row of `marked`, bool [R, E]; int64 [R].

    An expert that the model lacks counts as some other one; the sum of expert uses refuses such a trace.
    """
    offsets = experts.offsets.to_numpy()
    places = np.repeat(np.arange(0, marked.size, marked.shape[1]), np.diff(offsets))
    places += experts.flatten().to_numpy()
    found = np.cumsum(np.take(marked, places, mode="clip"), dtype=np.int64)
    return np.diff(np.concatenate([[0], found])[offsets - offsets[0]])
