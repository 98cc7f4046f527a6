"""Operations and bytes of one forward, component by component, from a model's structure and its routing's counts.

Operations are those of matrix products, a multiplication and an addition each. Attention counts all pairs of queries
and keys, as `torch.utils.flop_counter` does; a fused causal kernel may skip half of a prefill. Bytes are what a forward
must move at least: every weight that it uses once, the keys and values that it reads and writes, and the inputs and
outputs of its matrix products (`activations`). Norms, activations' functions and softmaxes are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from switchyard.models.costs import FLOPS_PER_PRODUCT
from switchyard.profiling.points import Point


class Routing(NamedTuple):
    """What a rule did in a forward, means over the MoE blocks."""

    mean_experts: float
    """Experts of a token."""
    distinct: float
    """Experts that any token used."""
    router_share: float = 1.0
    """Share of the rows whose router ran."""


class Counts(NamedTuple):
    """Of one forward, by component."""

    flops: dict[str, float]
    bytes: dict[str, float]

    @property
    def total_flops(self) -> float:
        """All of them."""
        return sum(self.flops.values())

    @property
    def total_bytes(self) -> float:
        """All of them."""
        return sum(self.bytes.values())

    @property
    def moved(self) -> float:
        """Weights and cache, the bytes that S-MBU counts."""
        return self.total_bytes - self.bytes["activations"]


class _Product(NamedTuple):
    """Matrix products of one kind in one forward."""

    component: str
    rows: float
    """Rows that are multiplied, over all layers."""
    inputs: int
    outputs: int
    matrices: float
    """Matrices of that size whose weights are read."""


def expected_distinct(num_experts: int, mean_experts: float, tokens: int) -> float:
    """Experts of a block that some of the tokens use, were each token's choice uniform: E (1 - (1 - k / E)^B)."""
    return num_experts * (1.0 - (1.0 - min(mean_experts / num_experts, 1.0)) ** tokens)


def forward_counts(
    structure: Mapping[str, Any], point: Point, routing: Routing, *, weight_bytes: int, cache_bytes: int = 0
) -> Counts:
    """Counts of a forward at a point.

    Args:
        structure: as `switchyard.models.structure.structure` makes it.
        point: batch, length, cache.
        routing: what the rule did there.
        weight_bytes: bytes of a weight; of an activation, too.
        cache_bytes: bytes of a cached key's or value's element, those of a weight if 0.
    """
    layers, heads = structure["num_hidden_layers"], structure["num_heads"]
    products = list(_products(structure, point, routing))
    flops: dict[str, float] = {}
    moved: dict[str, float] = {"embedding": point.tokens * structure["hidden_size"] * weight_bytes}
    for one in products:
        done = FLOPS_PER_PRODUCT * one.rows * one.inputs * one.outputs
        flops[one.component] = flops.get(one.component, 0.0) + done
        read = one.matrices * one.inputs * one.outputs * weight_bytes
        moved[one.component] = moved.get(one.component, 0.0) + read
    scores = 2 * FLOPS_PER_PRODUCT * layers * heads * point.keys * structure["head_dim"]  # and values
    flops["attention"] = scores
    held = 2 * layers * structure["num_key_value_heads"] * structure["head_dim"] * point.batch
    rows = point.cache_length + 2 * point.length  # the new ones are written, then read
    moved["cache"] = held * rows * (cache_bytes or weight_bytes)
    moved["activations"] = sum(one.rows * (one.inputs + one.outputs) for one in products) * weight_bytes
    return Counts(flops, moved)


def _products(structure: Mapping[str, Any], point: Point, routing: Routing) -> Iterator[_Product]:
    layers, blocks, hidden = structure["num_hidden_layers"], structure["num_layers"], structure["hidden_size"]
    queries = structure["num_heads"] * structure["head_dim"]
    keys = structure["num_key_value_heads"] * structure["head_dim"]
    rows = point.tokens
    yield _Product("projections", layers * rows, hidden, queries + 2 * keys, layers)
    yield _Product("projections", layers * rows, queries, hidden, layers)
    routed = blocks * rows * routing.router_share
    yield _Product("router", routed, hidden, structure["num_experts"], blocks * (routing.router_share > 0))
    pairs, wide = blocks * rows * routing.mean_experts, structure["intermediate_size"]
    yield _Product("experts", pairs, hidden, 2 * wide, blocks * routing.distinct)
    yield _Product("experts", pairs, wide, hidden, blocks * routing.distinct)
    if dense := layers - blocks:
        wide = structure["dense_intermediate_size"]
        yield _Product("dense", dense * rows, hidden, 2 * wide, dense)
        yield _Product("dense", dense * rows, wide, hidden, dense)
    yield _Product("head", point.head_rows, hidden, structure["vocab_size"], 1)
