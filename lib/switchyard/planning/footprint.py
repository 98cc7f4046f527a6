"""What a model needs in memory, from its structure alone: no weight is opened, and nothing but JSON is read.

Sums are upper bounds of what one job holds at its peak, for any routing rule: T is `batch_tokens`, H the model's width,
I that of an expert, E its experts, L its MoE blocks, V its vocabulary, S the most experts of a token (`slots`), b the
bytes of a number. docs/scaling.md compares the formulas with measured peaks.

A structure's `num_layers` counts MoE blocks and `num_hidden_layers`, where it is given, all layers. Layers that are no
MoE blocks are dense: each has one MLP of `dense_intermediate_size`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from switchyard.errors import InputError
from switchyard.models.blocks import describe

GB = 10**9

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of a number in the precision of a model's entry."""

CONTEXT_GB = 1.0
"""What a driver and its libraries take on a card before the first weight: 0.5 to 1 GB by card and version."""

PROCESS_GB = 0.55
"""A process that has imported torch, transformers and pyarrow, on the host; 0.48 GB measured on Linux."""

LOADED = {"float32": 1.7, "bfloat16": 1.15, "float16": 1.15}
"""Host memory of weights once loaded, of their own size: a checkpoint's 16 bits made float32, experts joined, leave as
much behind. Pages of the mapped checkpoint are not counted: the kernel drops them when memory is short."""

UNKNOWN_PARAMETERS = 8 * GB
"""Weights taken for a model of which nothing is known: one that a card of 24 GB holds in bfloat16."""

_LIKELIHOOD_BYTES = 4 * 2**26
"""Normalised logits of `evaluation.likelihood` with what is made of them: 64 MiB each, four at once."""

_DEFAULTS = {
    "olmoe": {"num_experts": 64, "num_experts_per_tok": 8, "norm_topk_prob": False, "num_hidden_layers": 16,
              "hidden_size": 2048, "intermediate_size": 2048, "num_attention_heads": 16, "vocab_size": 50304,
              "max_position_embeddings": 4096, "tie_word_embeddings": False},
    "mixtral": {"num_local_experts": 8, "num_experts_per_tok": 2, "num_hidden_layers": 32, "hidden_size": 4096,
                "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8,
                "vocab_size": 32000, "max_position_embeddings": 131072, "tie_word_embeddings": False},
}  # fmt: skip
"""What transformers takes for a field that a config.json does not hold."""


def structure(
    entry: Mapping[str, Any], prepared: Path, *, vocabulary_size: int = 4096
) -> dict[str, Any] | None:
    """The structure (`models.blocks.describe`) of a model entry of the configuration, as far as it is known now.

    From the prepared folder, the entry's own folder, the hub's cache, or what the entry states; a model that is trained
    here has the shape of its recipe and the corpus' `vocabulary_size`. None where nothing is known.
    """
    if (known := _read(prepared / "structure.json")) is not None:
        return known
    if entry["source"] == "pocket" and entry.get("retrain"):
        recipe = entry["training"]
        shape = {"vocab_size": vocabulary_size, "tie_word_embeddings": True, **recipe["shape"]}
        return _described({"model_type": recipe["architecture"], **shape})
    folder = _snapshot(entry) if entry["source"] == "hub" else Path(entry["path"])
    if (config := _read(folder / "config.json")) is not None:
        return _described(config)
    return dict(entry["structure"]) if entry.get("structure") else None


def is_cached(entry: Mapping[str, Any]) -> bool:
    """Whether the hub's cache holds all weights of a hub model's entry."""
    folder = _snapshot(entry)
    index = _read(folder / "model.safetensors.index.json") or {}
    files = set(index.get("weight_map", {}).values()) or {"model.safetensors"}
    return all((folder / name).is_file() for name in files)


def parameters(structure: Mapping[str, Any]) -> int:
    """Weights of the whole model, all experts included, tied embeddings once. Exact for OLMoE, Mixtral, Qwen3-MoE."""
    embeddings = structure["vocab_size"] * structure["hidden_size"] * (2 - structure["tie_word_embeddings"])
    return _weights(structure, structure["num_experts"]) + embeddings


def active_parameters(structure: Mapping[str, Any], experts: float | None = None) -> int:
    """Weights that one token is multiplied with, with `experts` of its experts (default: as trained); embeddings once.

    A token's input embedding is looked up: of untied embeddings the output's alone count.
    """
    used = structure["top_k"] if experts is None else experts
    return round(_weights(structure, used) + structure["vocab_size"] * structure["hidden_size"])


def weights_gb(structure: Mapping[str, Any], dtype: str) -> float:
    """Bytes of the weights in `dtype`, GB."""
    return parameters(structure) * BYTES[dtype] / GB


def gpu_mem_gb(
    structure: Mapping[str, Any] | None, dtype: str, batch_tokens: int, *, slots: int | None = None
) -> int:
    """Whole GB on a card of a job that runs this model, the driver's context included, rounded up.

    `slots` is the most experts that the job's rule may give a token; None stands for every expert of the model.
    """
    if structure is None:
        return math.ceil(CONTEXT_GB + UNKNOWN_PARAMETERS * BYTES[dtype] / GB * 1.25)
    needed = weights_gb(structure, dtype) + activations_gb(structure, dtype, batch_tokens, slots=slots)
    return math.ceil(CONTEXT_GB + needed)


def mem_mb(
    structure: Mapping[str, Any] | None, dtype: str, batch_tokens: int, *, slots: int | None = None
) -> int:
    """Host memory in MB of such a job where there is no card; with one it needs no activations, and less."""
    if structure is None:
        return math.ceil(1000 * (PROCESS_GB + UNKNOWN_PARAMETERS * BYTES[dtype] / GB * LOADED[dtype] * 1.25))
    needed = LOADED[dtype] * weights_gb(structure, dtype) + activations_gb(
        structure, dtype, batch_tokens, slots=slots
    )
    return math.ceil(1000 * (PROCESS_GB + needed + trace_gb(structure, batch_tokens, slots=slots)))


def activations_gb(
    structure: Mapping[str, Any], dtype: str, batch_tokens: int, *, slots: int | None = None
) -> float:
    """What a batch needs beside the weights, where the model is, GB.

    A layer and the head are never at work at once, so the larger of the two counts: T * S rows of experts, of which
    input H, two projections 2 I, and their gated product with a copy 2 I live together; T such rows of a dense MLP; or
    T * V logits of scored tokens. Beside it the hidden states with float32 copies for norms, attention, and T * L * E
    router logits.
    """
    width, number = structure["hidden_size"], BYTES[dtype]
    heads = structure["num_heads"] + structure["num_key_value_heads"]
    pairs = (structure["num_experts"] if slots is None else slots) * (
        number * (width + 4 * structure["intermediate_size"]) + 64  # 8 numbers of 64 bits that sort the pairs
    )
    dense = number * (width + 4 * _dense_width(structure)) if _dense_layers(structure) else 0
    head = structure["vocab_size"] * number
    states = width * (4 * number + 3 * 4) + 2 * heads * structure["head_dim"] * number
    routers = 4 * structure["num_layers"] * structure["num_experts"]
    return (batch_tokens * (max(pairs, dense, head) + states + routers) + _LIKELIHOOD_BYTES) / GB


def trace_gb(structure: Mapping[str, Any], batch_tokens: int, *, slots: int | None = None) -> float:
    """Host memory of a trace while one forward is ordered and written, GB.

    A forward has T * L rows. Three copies live together of E float32 logits and of S experts with weights (6 bytes);
    32 bytes a pair and 128 a row order them.
    """
    pairs = structure["num_experts"] if slots is None else slots
    row = 3 * (4 * structure["num_experts"] + 6 * pairs) + 32 * pairs + 128
    return batch_tokens * structure["num_layers"] * row / GB


def observation_gb(structure: Mapping[str, Any], *, domains: int = 4, layers: int | None = None) -> float:
    """Dense counts of a shard (`observation.statistics`): uses and first choices by domain, layer, token id, expert."""
    observed = structure["num_layers"] if layers is None else layers
    return 8 * observed * domains * structure["vocab_size"] * structure["num_experts"] / GB


def _weights(structure: Mapping[str, Any], experts: float) -> float:
    """Weights of all layers and the last norm, with so many experts in each layer."""
    width, head = structure["hidden_size"], structure["head_dim"]
    queries, keys = structure["num_heads"] * head, structure["num_key_value_heads"] * head
    attention = 2 * width * (queries + keys)  # queries, keys, values, output
    of_heads = {"olmoe": queries + keys, "qwen3_moe": 2 * head}  # norms of queries and keys
    norms = 2 * width + of_heads.get(structure["model_type"], 0)
    router = structure["num_experts"] * width
    expert = 3 * width * structure["intermediate_size"]
    moe, dense = structure["num_layers"], _dense_layers(structure)
    mlps = moe * (router + experts * expert) + dense * 3 * width * _dense_width(structure)
    return (moe + dense) * (attention + norms) + mlps + width


def _dense_layers(structure: Mapping[str, Any]) -> int:
    """Layers with one MLP instead of experts."""
    return structure.get("num_hidden_layers", structure["num_layers"]) - structure["num_layers"]


def _dense_width(structure: Mapping[str, Any]) -> int:
    """Width of a dense MLP; that of an expert where the structure does not say."""
    return structure.get("dense_intermediate_size") or structure["intermediate_size"]


def _described(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """`models.blocks.describe` of a config.json, without transformers; None where it holds no experts."""
    given = {name: value for name, value in config.items() if value is not None}
    fields = SimpleNamespace(**{**_DEFAULTS.get(config.get("model_type"), {}), **given})
    fields.get_text_config = lambda: fields
    try:
        return describe(fields)
    except (InputError, AttributeError):
        return None


def _snapshot(entry: Mapping[str, Any]) -> Path:
    """Where the hub's cache holds a revision, or would."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    name = f"models--{entry['repository'].replace('/', '--')}"
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / name / "snapshots" / entry["revision"]


def _read(file: Path) -> dict[str, Any] | None:
    """A JSON file; None where there is none that can be read: the rule that prepares the model says what is wrong."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
