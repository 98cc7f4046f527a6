"""A model's weights by part, and what they take in each precision, from its structure alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from switchyard.planning import footprint
from switchyard.planning.footprint import BYTES, GB

QUANTISED = {
    "bfloat16, experts in int8": {"experts": "int8"},
    "bfloat16, experts in nf4": {"experts": "nf4"},
    "bfloat16, layers in nf4": {"experts": "nf4", "rest": "nf4"},
}
"""Precisions beside the plain ones, by their `quantise`."""


def weights_by_part(structure: Mapping[str, Any]) -> dict[str, int]:
    """Numbers of weights; their sum is `footprint.parameters`."""
    width = structure["hidden_size"]
    embeddings = structure["vocab_size"] * width * (2 - structure["tie_word_embeddings"])
    parts = {
        "experts": footprint.expert_weights(structure),
        "attention and dense layers": footprint.linear_weights(structure),
        "routers": structure["num_layers"] * structure["num_experts"] * width,
        "embeddings and output head": embeddings,
    }
    return parts | {"norms": footprint.parameters(structure) - sum(parts.values())}


def described(structure: Mapping[str, Any]) -> Iterator[str]:
    """Lines for a terminal: shape, weights by part, weights and bytes of a token, memory by precision."""
    known = {"num_hidden_layers": structure["num_layers"], **structure}
    yield "{model_type}: {num_hidden_layers} layers, {num_layers} of them with experts".format(**known)
    yield "  {num_experts} experts of which {top_k} are used; {hidden_size} wide, an expert {intermediate_size}".format(
        **known
    )
    yield "  at most {max_position_embeddings:,} tokens".format(**known)
    total, active = footprint.parameters(structure), footprint.active_parameters(structure)
    yield f"weights: {total:,}"
    for name, number in weights_by_part(structure).items():
        yield f"  {name}: {number:,} ({100 * number / total:.2f} %)"
    yield f"a token is multiplied with {active:,} ({100 * active / total:.1f} %)"
    yield "memory of the weights, and what a token alone reads of them"
    for dtype in BYTES:
        yield f"  {dtype}: {footprint.weights_gb(structure, dtype):.2f} GB, {active * BYTES[dtype] / GB:.2f} GB"
    for name, quantise in QUANTISED.items():
        packed = {**structure, "quantise": quantise}
        idle = (structure["num_experts"] - structure["top_k"]) / structure["num_experts"]
        unread = structure["vocab_size"] * structure["hidden_size"] * (1 - structure["tie_word_embeddings"])
        whole = footprint.weights_gb(packed, "bfloat16")
        read = whole - idle * footprint.experts_gb(packed, "bfloat16") - 2 * unread / GB
        yield f"  {name}: {whole:.2f} GB, {read:.2f} GB"
