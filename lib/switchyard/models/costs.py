"""What a token costs: the matrix products that the warehouse counts (`products_of_experiments`), in Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FLOPS_PER_PRODUCT = 2
"""A multiplication and an addition."""


def flops_per_token(structure: Mapping[str, Any], mean_experts: float, router_share: float = 1.0) -> float:
    """Floating-point operations of the matrix products of one token: projections, router, experts, head.

    Scores and values of attention, whose cost grows with the context, norms and embeddings are left out. An expert, and
    the feed-forward block of a layer without experts, is three matrices: gate, up and down. Shared experts and latent
    attention are not counted yet, so that savings look too large for families that have them.

    Args:
        structure: as `switchyard.models.structure.structure` makes it.
        mean_experts: experts of a token, mean over tokens and MoE blocks.
        router_share: share of the rows of all MoE blocks whose router ran, 0..1.
    """
    layers, blocks, hidden = structure["num_hidden_layers"], structure["num_layers"], structure["hidden_size"]
    heads = 2 * structure["num_heads"] + 2 * structure["num_key_value_heads"]
    projections = layers * hidden * heads * structure["head_dim"]
    routers = blocks * hidden * structure["num_experts"] * router_share
    experts = blocks * 3 * hidden * structure["intermediate_size"] * mean_experts
    dense = (layers - blocks) * 3 * hidden * (structure["dense_intermediate_size"] or 0)
    head = hidden * structure["vocab_size"]
    return FLOPS_PER_PRODUCT * (projections + routers + experts + dense + head)
