"""What a model needs in memory, from its structure alone: no weight is opened, and nothing but JSON is read.

Sums are upper bounds of what one job holds at its peak, for any routing rule: T is `batch_tokens`, H the model's width,
I that of an expert, E its experts, L its MoE blocks, V its vocabulary, S the most experts of a token (`slots`), b the
bytes of a number. docs/scaling.md compares the formulas with measured peaks.

A structure's `num_layers` counts MoE blocks and `num_hidden_layers`, where it is given, all layers. Layers that are no
MoE blocks are dense: each has one MLP of `dense_intermediate_size`. Its `quantise`, where it has one, is that of the
model's entry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from switchyard.models.quantised_sizes import EXPANDED, Quantise, bytes_per_weight

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
    """Bytes of the weights as they are loaded, GB: in `dtype` but for those that the structure's `quantise` packs."""
    plain, packed = BYTES[dtype], Quantise.of(structure.get("quantise"))
    experts, rest = expert_weights(structure), linear_weights(structure)
    others = parameters(structure) - experts - rest
    sizes = experts * bytes_per_weight(packed.experts, plain) + rest * bytes_per_weight(packed.rest, plain)
    return (sizes + others * plain) / GB


def hosted_gb(structure: Mapping[str, Any], dtype: str) -> float:
    """Bytes of the experts that stay in host memory although there is a card, GB; a prefill moves all of them."""
    packed = Quantise.of(structure.get("quantise"))
    if packed.experts_on != "host":
        return 0.0
    return experts_gb(structure, dtype)


def experts_gb(structure: Mapping[str, Any], dtype: str) -> float:
    """Bytes of the experts of all MoE blocks as they are loaded, GB."""
    packed = Quantise.of(structure.get("quantise"))
    return expert_weights(structure) * bytes_per_weight(packed.experts, BYTES[dtype]) / GB


def expanded_gb(structure: Mapping[str, Any], dtype: str, device: str) -> float:
    """The most that packed weights are expanded to at once on `device` (cpu, cuda), GB, if all experts are used.

    0 for a model that is not packed.
    """
    packed, number = Quantise.of(structure.get("quantise")), BYTES[dtype]
    width, inner = structure["hidden_size"], structure["intermediate_size"]
    expert = 2 * number * width * inner
    experts = min(structure["num_experts"] * expert, max(expert, EXPANDED[device]))
    rest = number * width * max(structure["num_heads"] * structure["head_dim"], _dense_width(structure))
    return max(experts if packed.experts != "none" else 0, rest if packed.rest != "none" else 0) / GB


def gpu_mem_gb(
    structure: Mapping[str, Any] | None,
    dtype: str,
    batch_tokens: int,
    *,
    slots: int | None = None,
    cards: int = 1,
) -> int:
    """Whole GB on cards of a job that runs this model, the drivers' contexts included, rounded up.

    `slots` is the most experts that the job's rule may give a token; None stands for every expert of the model. With
    several `cards` each has a context and the activations of a batch, and an uneven division costs a layer on each.
    """
    if structure is None:
        return math.ceil(CONTEXT_GB + UNKNOWN_PARAMETERS * BYTES[dtype] / GB * 1.25)
    needed = weights_gb(structure, dtype) - hosted_gb(structure, dtype)
    batch = activations_gb(structure, dtype, batch_tokens, slots=slots, device="cuda")
    if Quantise.of(structure.get("quantise")).experts != "none":
        batch = max(batch, _layer_as_read_gb(structure, dtype))
    layer = weights_gb(structure, dtype) / structure["num_layers"] if cards > 1 else 0.0
    return math.ceil(needed + cards * (CONTEXT_GB + batch + layer))


def _layer_as_read_gb(structure: Mapping[str, Any], dtype: str) -> float:
    """Gate and up of a layer's experts, GB, which are on the card as they were read while they are packed."""
    width, inner = structure["hidden_size"], structure["intermediate_size"]
    return 2 * structure["num_experts"] * width * inner * BYTES[dtype] / GB


def mem_mb(
    structure: Mapping[str, Any] | None, dtype: str, batch_tokens: int, *, slots: int | None = None
) -> int:
    """Host memory in MB of such a job where there is no card; with one it needs no activations, and less."""
    if structure is None:
        return math.ceil(1000 * (PROCESS_GB + UNKNOWN_PARAMETERS * BYTES[dtype] / GB * LOADED[dtype] * 1.25))
    needed = LOADED[dtype] * weights_gb(structure, dtype) + activations_gb(
        structure, dtype, batch_tokens, slots=slots, device="cpu"
    )
    return math.ceil(1000 * (PROCESS_GB + needed + trace_gb(structure, batch_tokens, slots=slots)))


def activations_gb(
    structure: Mapping[str, Any],
    dtype: str,
    batch_tokens: int,
    *,
    slots: int | None,
    device: str,
) -> float:
    """What a batch needs beside the weights on `device`, cpu or cuda, GB.

    A layer and the head are never at work at once, so the larger of the two counts: T * S rows of experts, of which
    input H, two projections 2 I, and their gated product with a copy 2 I live together; T such rows of a dense MLP; or
    T * V logits of scored tokens. Beside it the hidden states with float32 copies for norms, attention, and T * L * E
    router logits, and of packed weights those that are expanded (`expanded_gb`).
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
    batch = batch_tokens * (max(pairs, dense, head) + states + routers) + _LIKELIHOOD_BYTES
    return batch / GB + expanded_gb(structure, dtype, device)


def trace_gb(structure: Mapping[str, Any], batch_tokens: int, *, slots: int | None = None) -> float:
    """Host memory of a trace while one forward is ordered and written and the next one comes, GB.

    A forward has T * L rows. Four copies live together of E float32 logits and of S experts with weights (6 bytes);
    32 bytes a pair and 128 a row order them.
    """
    pairs = structure["num_experts"] if slots is None else slots
    row = 4 * (4 * structure["num_experts"] + 6 * pairs) + 32 * pairs + 128
    return batch_tokens * structure["num_layers"] * row / GB


def observation_gb(structure: Mapping[str, Any], *, domains: int = 4, layers: int | None = None) -> float:
    """Dense arrays of a shard (`observation.statistics`), GB: uses and first choices by domain, and probabilities.

    8 bytes for each domain and for the probabilities, by layer, token id and expert.
    """
    observed = structure["num_layers"] if layers is None else layers
    return 8 * observed * (domains + 1) * structure["vocab_size"] * structure["num_experts"] / GB


def _weights(structure: Mapping[str, Any], experts: float) -> float:
    """Weights of all layers and the last norm, with so many experts in each layer."""
    width, head = structure["hidden_size"], structure["head_dim"]
    queries, keys = structure["num_heads"] * head, structure["num_key_value_heads"] * head
    attention = _attention_weights(structure)
    of_heads = {"olmoe": queries + keys, "qwen3_moe": 2 * head}  # norms of queries and keys
    norms = 2 * width + of_heads.get(structure["model_type"], 0)
    router = structure["num_experts"] * width
    expert = 3 * width * structure["intermediate_size"]
    moe, dense = structure["num_layers"], _dense_layers(structure)
    mlps = moe * (router + experts * expert) + dense * 3 * width * _dense_width(structure)
    return (moe + dense) * (attention + norms) + mlps + width


def _attention_weights(structure: Mapping[str, Any]) -> int:
    """Weights of queries, keys, values and output of a layer."""
    heads = structure["num_heads"] + structure["num_key_value_heads"]
    return 2 * structure["hidden_size"] * heads * structure["head_dim"]


def expert_weights(structure: Mapping[str, Any]) -> int:
    """Weights of the experts of all MoE blocks."""
    expert = 3 * structure["hidden_size"] * structure["intermediate_size"]
    return structure["num_layers"] * structure["num_experts"] * expert


def linear_weights(structure: Mapping[str, Any]) -> int:
    """Weights of the other matrices of all layers: attention and dense feed-forward blocks."""
    dense, width = _dense_layers(structure), structure["hidden_size"]
    layers = structure["num_layers"] + dense
    return layers * _attention_weights(structure) + 3 * dense * width * _dense_width(structure)


def _dense_layers(structure: Mapping[str, Any]) -> int:
    """Layers with one MLP instead of experts."""
    return structure.get("num_hidden_layers", structure["num_layers"]) - structure["num_layers"]


def _dense_width(structure: Mapping[str, Any]) -> int:
    """Width of a dense MLP; that of an expert where the structure does not say."""
    return structure.get("dense_intermediate_size") or structure["intermediate_size"]
