"""Columns of a trace, how each is stored, and what it means."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from switchyard.artifacts.files import PARQUET

HEAD_KEYS = (
    *("schema_version", "study", "model", "config", "strategy", "k_or_max_k", "alpha", "null", "weighting"),
    *("num_experts", "num_layers", "trained_top_k", "dataset", "provenance"),
)
"""Head of both logs of an experiment, in order; in the summary provenance stands last."""

COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "sample_id": (pa.int32(), "Sample of the prepared dataset."),
    "sequence": (pa.int16(), "Sequence within the sample: 0, except for choice, where it is the option."),
    "layer": (pa.int16(), "MoE block, counted from 0 in order of execution."),
    "position": (pa.int32(), "Position of the token in its sequence, padding not counted, from 0."),
    "token_id": (pa.int32(), "Vocabulary id of the input token at this position."),
    "rejections": (
        pa.int16(),
        "Hypotheses rejected before clamping to min_k..max_k; null for rules without tests.",
    ),
    "count": (pa.int16(), "Number of experts chosen; the length of experts and of weights."),
    "experts": (pa.list_(pa.int16()), "Chosen experts, most probable first."),
    "weights": (pa.list_(pa.float32()), "Weight of each chosen expert's output, in the order of experts."),
}

PATH = "path"
PATH_MEANING = "How the route was found: 0 learned, 1 fast, 2 cached. Absent for rules without paths."

LOGITS = "router_logits"
LOGITS_MEANING = (
    "Router logits, one per expert, before any softmax; where a family chooses experts by probabilities plus a "
    "correction bias, these sums. Absent where the study leaves them out."
)

# Dictionaries suit columns of few values; a run of positions is all equal differences; the exponent bytes of
# floats lie together after a byte-stream split, and the zero low bytes of bfloat16 logits compress to nothing.
WRITE_OPTIONS: dict[str, Any] = {
    **PARQUET,
    "use_dictionary": [
        "sample_id",
        "sequence",
        "layer",
        "token_id",
        "rejections",
        "count",
        PATH,
        "experts.list.element",
    ],
    "column_encoding": {
        "position": "DELTA_BINARY_PACKED",
        "weights.list.element": "BYTE_STREAM_SPLIT",
        f"{LOGITS}.list.element": "BYTE_STREAM_SPLIT",
    },
}


def trace_schema(num_experts: int, keep_logits: bool, has_paths: bool = False) -> pa.Schema:
    """Arrow schema of a trace; `router_logits` is a list of exactly `num_experts` float32."""
    fields = [pa.field(name, kind) for name, (kind, _) in COLUMNS.items()]
    if has_paths:
        fields.append(pa.field(PATH, pa.int8()))
    if keep_logits:
        fields.append(pa.field(LOGITS, pa.list_(pa.float32(), num_experts)))
    return pa.schema(fields)


def write_options(schema: pa.Schema) -> dict[str, Any]:
    """Parquet writer options for the columns that `schema` has."""
    encoding = WRITE_OPTIONS["column_encoding"]
    present = {path: kind for path, kind in encoding.items() if path.split(".")[0] in schema.names}
    return {**WRITE_OPTIONS, "column_encoding": present}
