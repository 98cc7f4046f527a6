"""The internal routing log of an experiment: every decision of every sample as JSON.

The trace lists forwards in the order they ran and the log lists samples in order, so the text of each
sequence is first spooled to a nameless file and then copied in order: memory holds one forward, whatever the
size of the experiment.

Router logits, weights and p-values are the shortest decimals that read back the same float32; means and losses
are float64 as everywhere else in the results. Standard deviations are those of the population (one token has
0). The entries of `layers` are ordered by sequence, then layer.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson
import pyarrow as pa

from switchyard.artifacts.files import atomic, read_table
from switchyard.artifacts.stamps import sha256_file
from switchyard.errors import InputError
from switchyard.traces.json_lists import dumps, ragged
from switchyard.traces.reader import Trace, TraceSlice
from switchyard.traces.schema import HEAD_KEYS

PValues = Callable[[np.ndarray, int], np.ndarray]
"""p-values of logits [tokens, num_experts] in a layer."""

SHOWN_TOKENS = 5
"""Tokens of each layer whose logits and p-values stand in the log (the source documents' number)."""

COPY_BYTES = 1 << 20


def write_internal_log(
    path: str | Path,
    *,
    head: dict[str, Any],
    trace: str | Path,
    scores: str | Path | pa.Table,
    study_folder: str | Path,
    min_k: int | None = None,
    p_values: PValues | None = None,
    samples_spelled_out: int | None = None,
) -> None:
    """Write the log of one experiment, atomically.

    `head` holds HEAD_KEYS (others are left out). `min_k` is the floor of an adaptive rule, None for a static one,
    which has no floor hits. `p_values(logits [tokens, num_experts], layer)` gives `p_values_sample`, in the shape of
    the logits; None for rules without p-values. `samples_spelled_out` keeps that many samples, lowest ids first; None
    keeps all. `aggregate_stats` is always over all tokens. Where the trace holds no logits, `router_logits_sample` and
    `p_values_sample` are null.
    """
    source = Trace(trace)
    p_values = source.scores.as_rules_see(p_values)
    table = read_table(scores) if not isinstance(scores, pa.Table) else scores
    samples = table.select(["sample_id", "text_preview", "loss"]).sort_by("sample_id").to_pylist()
    shown = [sample["sample_id"] for sample in samples[:samples_spelled_out]]
    spool = _Spool(shown)
    totals = _Totals(head, min_k)

    def entry(rows: TraceSlice) -> bytes:
        return layer_entry(rows, source.num_experts, p_values=p_values, max_k=head["k_or_max_k"], min_k=min_k)

    with atomic(path) as partial, tempfile.TemporaryFile(dir=partial.parent) as text:
        for one in source.sequences():
            totals.add(one)
            spool.write(text, one, source, entry)
        spool.require_all(source.path)
        with partial.open("wb") as log:
            log.write(_opening({key: head[key] for key in HEAD_KEYS}))
            for number, sample in enumerate(samples[: len(shown)]):
                log.write(b",\n" if number else b"\n")
                _write_sample(log, sample, spool, text)
            log.write(
                b"\n],\n" + _closing(totals.stats(len(samples)), _trace_entry(source, Path(study_folder)))
            )


class _Spool:
    """Where the text of each (sample, sequence) lies in the spool file."""

    def __init__(self, samples: list[int]) -> None:
        self.places: dict[int, dict[int, tuple[int, int]]] = {sample: {} for sample in samples}
        self.tokens: dict[int, int] = dict.fromkeys(samples, 0)

    def write(
        self, text: IO[bytes], rows: TraceSlice, source: Trace, entry: Callable[[TraceSlice], bytes]
    ) -> None:
        sample, sequence = int(rows.sample_id[0]), int(rows.sequence[0])
        if sample not in self.places:
            return
        if sequence in self.places[sample]:
            raise InputError(
                f"{source.path}: sample {sample} sequence {sequence} was routed in more than one forward; "
                "an internal log needs each sequence scored in one forward, evaluate without a KV cache"
            )
        content = b",\n".join(entry(layer) for layer in rows.split("layer"))
        self.places[sample][sequence] = (text.tell(), text.write(content))
        self.tokens[sample] += len(rows) // source.num_layers

    def require_all(self, path: Path) -> None:
        for sample, sequences in self.places.items():
            if not sequences:
                raise InputError(
                    f"{path}: holds no row of sample {sample} of the scores; evaluate the experiment again"
                )


def layer_entry(
    rows: TraceSlice,
    num_experts: int,
    *,
    p_values: PValues | None,
    max_k: int,
    min_k: int | None,
) -> bytes:
    """JSON of one entry of `layers`: the rows of one (sample, sequence, layer)."""
    shown = rows.rows(0, min(SHOWN_TOKENS, len(rows)))
    logits = shown.router_logits
    untested = p_values is None or logits is None
    sample = None if untested else p_values(logits, int(rows.layer[0])).astype(np.float32)
    return dumps(
        {
            "layer": int(rows.layer[0]),
            "sequence": int(rows.sequence[0]),
            "router_logits_shape": [len(rows), num_experts],
            "selected_experts": orjson.Fragment(ragged(rows.experts, rows.offsets)),
            "expert_weights": orjson.Fragment(ragged(rows.weights, rows.offsets)),
            "expert_counts": np.ascontiguousarray(rows.count),
            "router_logits_sample": None if logits is None else np.ascontiguousarray(logits),
            "p_values_sample": sample,
            "layer_stats": {
                **mean_and_spread(np.bincount(rows.count)),
                "ceiling_hits": int((rows.count == max_k).sum()),
                "floor_hits": 0 if is_static(min_k, max_k) else int((rows.count == min_k).sum()),
            },
        }
    )


def mean_and_spread(histogram: np.ndarray) -> dict[str, float]:
    """Mean and population standard deviation of counts; `histogram[c]`, int64 [counts], tokens have count c.

    From integer sums, in the order of operations of the warehouse's SQL, so that both print the same number.
    """
    counts = np.arange(len(histogram))
    tokens, total, squares = (int(histogram @ counts**power) for power in (0, 1, 2))
    spread = math.sqrt(tokens * squares - total * total) / tokens
    return {"avg_experts": total / tokens, "std_experts": spread}


def is_static(min_k: int | None, max_k: int) -> bool:
    """Whether every token gets the same number of experts: the ceiling rate is 1, the floor rate 0."""
    return min_k is None or min_k == max_k


class _Totals:
    """Sums over every token of the experiment; exact, being sums of integers."""

    def __init__(self, head: dict[str, Any], min_k: int | None) -> None:
        self.max_k, self.min_k = head["k_or_max_k"], min_k
        layers, experts = head["num_layers"], head["num_experts"]
        self.histogram = np.zeros((layers, experts + 1), np.int64)  # tokens of each count
        self.usage = np.zeros((layers, experts), np.int64)

    def add(self, rows: TraceSlice) -> None:
        for layer in rows.split("layer"):
            number = layer.layer[0]
            self.histogram[number] += np.bincount(layer.count, minlength=self.histogram.shape[1])
            self.usage[number] += np.bincount(layer.experts, minlength=self.usage.shape[1])

    def stats(self, total_samples: int) -> dict[str, Any]:
        floors = np.zeros(len(self.histogram), np.int64)
        if not is_static(self.min_k, self.max_k):
            floors = self.histogram[:, self.min_k]
        pooled = self.histogram.sum(axis=0)
        seen = np.flatnonzero(pooled)
        layers = [mean_and_spread(histogram) for histogram in self.histogram]
        return {
            "total_samples": total_samples,
            "total_tokens": int(self.histogram[0].sum()),
            **mean_and_spread(pooled),
            "min_experts": int(seen[0]),
            "max_experts": int(seen[-1]),
            "per_layer_avg_experts": [layer["avg_experts"] for layer in layers],
            "per_layer_std_experts": [layer["std_experts"] for layer in layers],
            "per_layer_ceiling_hits": np.ascontiguousarray(self.histogram[:, self.max_k]),
            "per_layer_floor_hits": np.ascontiguousarray(floors),
            "expert_usage_counts": self.usage,
        }


def _opening(head: dict[str, Any]) -> bytes:
    return (
        orjson.dumps(head, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)[:-2] + b',\n"samples": ['
    )


def _write_sample(log: IO[bytes], sample: dict[str, Any], spool: _Spool, text: IO[bytes]) -> None:
    opening = {
        "sample_id": sample["sample_id"],
        "text_preview": (sample["text_preview"] or "")[:100],
        "num_tokens": spool.tokens[sample["sample_id"]],
        "loss": sample["loss"],
    }
    log.write(orjson.dumps(opening)[:-1] + b',"layers":[\n')
    for number, (_, place) in enumerate(sorted(spool.places[sample["sample_id"]].items())):
        log.write(b",\n" if number else b"")
        for piece in _pieces(text, *place):
            log.write(piece)
    log.write(b"]}")


def _pieces(text: IO[bytes], start: int, length: int) -> Iterator[bytes]:
    text.seek(start)
    while length > 0:
        piece = text.read(min(length, COPY_BYTES))
        yield piece
        length -= len(piece)


def _trace_entry(source: Trace, study_folder: Path) -> dict[str, Any]:
    """Path relative to the study folder, SHA-256 of the file, number of rows."""
    relative = source.path.resolve().relative_to(study_folder.resolve()).as_posix()
    return {"path": relative, "sha256": sha256_file(source.path), "rows": source.rows}


def _closing(stats: dict[str, Any], trace: dict[str, Any]) -> bytes:
    return dumps({"aggregate_stats": stats, "trace": trace})[1:] + b"\n"
