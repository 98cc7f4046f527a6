"""Operations and bytes of a forward, product by product and token by token."""

from __future__ import annotations

from collections import Counter
from typing import Any


def naive_counts(
    structure: dict[str, Any],
    batch: int,
    length: int,
    cached: int,
    chosen: list[list[list[int]]],
    routed: list[list[bool]],
    size: int,
) -> tuple[Counter, Counter]:
    """Operations and bytes by component.

    `chosen` lists for each MoE block and token the experts that it uses, `routed` whether its router ran; `size` is the
    bytes of a number.
    """
    flops, moved = Counter(), Counter()
    hidden, head_dim = structure["hidden_size"], structure["head_dim"]

    def product(component: str, inputs: int, outputs: int) -> None:
        """One row times one matrix."""
        flops[component] += 2 * inputs * outputs
        moved["activations"] += (inputs + outputs) * size

    block = 0
    for layer in range(structure["num_hidden_layers"]):
        heads, shared = structure["num_heads"], structure["num_key_value_heads"]
        widths = [heads * head_dim, shared * head_dim, shared * head_dim]
        moved["projections"] += (hidden * sum(widths) + widths[0] * hidden) * size
        for _ in range(batch):
            moved["cache"] += (cached + length) * 2 * shared * head_dim * size  # read
            moved["cache"] += length * 2 * shared * head_dim * size  # written
            for _ in range(length):
                product("projections", hidden, sum(widths))
                product("projections", widths[0], hidden)
                for _ in range(heads):
                    for _ in range(cached + length):
                        flops["attention"] += 2 * head_dim  # a score
                        flops["attention"] += 2 * head_dim  # its share of the values
        if layer in structure["moe_layers"]:
            if any(routed[block]):
                moved["router"] += hidden * structure["num_experts"] * size
            wide = structure["intermediate_size"]
            for expert in {one for token in chosen[block] for one in token}:
                assert 0 <= expert < structure["num_experts"]
                moved["experts"] += 3 * hidden * wide * size
            for token, ran in zip(chosen[block], routed[block], strict=True):
                if ran:
                    product("router", hidden, structure["num_experts"])
                for _ in token:
                    product("experts", hidden, 2 * wide)
                    product("experts", wide, hidden)
            block += 1
        else:
            wide = structure["dense_intermediate_size"]
            moved["dense"] += 3 * hidden * wide * size
            for _ in range(batch * length):
                product("dense", hidden, 2 * wide)
                product("dense", wide, hidden)
    moved["head"] += hidden * structure["vocab_size"] * size
    for _ in range(batch):
        product("head", hidden, structure["vocab_size"])
        moved["embedding"] += length * hidden * size
    return flops, moved
