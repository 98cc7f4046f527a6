"""Segment cache hit rate, against a cache made of a set, and its limits."""

from __future__ import annotations

import numpy as np
import pytest

from reference import routing_analyses as reference
from reference.made_up_routing import SHAPES, flat, routing
from switchyard.errors import InputError
from switchyard.observation.caching import CacheHits
from switchyard.observation.routed_tokens import RoutedTokens


def rows(experts: np.ndarray, lengths: list[int], num_experts: int, **settings: tuple) -> list[dict]:
    sizes = {"num_experts": num_experts, "top_k": experts.shape[2]}
    counter = CacheHits.empty(range(len(experts)), **sizes, **settings)
    counter.observe(RoutedTokens(experts, lengths, num_experts=num_experts))
    return counter.table().to_pylist()


@pytest.mark.parametrize("num_experts, top_k, lengths", SHAPES)
def test_it_equals_a_cache_made_of_a_set(num_experts: int, top_k: int, lengths: list[int]) -> None:
    texts = routing(num_experts, top_k, lengths)
    ratios = (1.0, 1.5, 2.0)
    found = rows(*flat(texts, top_k), num_experts, segment_lengths=(4, 1), cache_ratios=ratios)
    sizes = sorted({min(num_experts, int(np.floor(ratio * top_k + 0.5))) for ratio in ratios})
    assert [(row["layer"], row["segment_length"], row["cache_size"]) for row in found] == [
        (layer, length, size) for layer in range(3) for length in (1, 4) for size in sizes
    ]
    for row in found:
        text, size = texts[row["layer"]], row["cache_size"]
        hits = reference.cache_hits(text, row["segment_length"], size)
        uses = top_k * len(reference.tokens_of(text))
        assert (row["hits"], row["uses"]) == (hits, uses)
        assert row["segment_cache_hit_rate"] == (hits / uses if uses else None)
        if uses and num_experts <= 8:
            assert row["fixed_hit_rate"] == pytest.approx(reference.best_fixed_cache(text, size, num_experts))


def test_a_cache_of_all_experts_loads_each_once() -> None:
    experts, lengths = flat(routing(6, 2, [30, 30]), 2)
    for row, layer in zip(rows(experts, lengths, 6, cache_ratios=(3.0,)), experts, strict=True):
        loads = sum(len(np.unique(part)) for part in np.split(layer, 2))
        assert row["hits"] == row["uses"] - loads and row["fixed_hit_rate"] == 1


def test_a_larger_cache_hits_no_less() -> None:
    found = rows(*flat(routing(16, 2, [60], layers=1), 2), 16, cache_ratios=(1, 2, 3, 4, 8))
    hits = [row["hits"] for row in found]
    assert hits == sorted(hits) and hits[0] < hits[-1]


def test_a_cache_as_large_as_k_repeats_neighbours() -> None:
    """It holds what the last token used, so that its hits are the repeated experts of neighbours."""
    texts = routing(6, 2, [9, 4])
    for row, text in zip(rows(*flat(texts, 2), 6, cache_ratios=(1,)), texts, strict=True):
        assert row["hits"] == sum(len(set(a) & set(b)) for a, b in reference.neighbours(text))


def test_the_expert_wanted_soon_is_kept() -> None:
    """0, 1, 2, then 0: a cache of two that sees two ahead evicts 1, one that sees nothing of it would evict either."""
    (row,) = rows(np.array([[[0], [1], [2], [0]]]), [4], 3, segment_lengths=(2,), cache_ratios=(2,))
    assert row["hits"] == 1


def test_among_equals_the_highest_expert_goes() -> None:
    first, second = np.array([[[0], [1], [2], [0]]]), np.array([[[0], [1], [2], [1]]])
    settings = {"segment_lengths": (1,), "cache_ratios": (2,)}
    # When 2 is loaded, the next token is seen.
    assert rows(first, [4], 3, **settings)[0]["hits"] == rows(second, [4], 3, **settings)[0]["hits"] == 1
    # With another token between, it is not: 1 goes, and 0 is still there.
    between = [np.insert(experts, 3, 2, axis=1) for experts in (first, second)]
    assert [rows(experts, [5], 3, **settings)[0]["hits"] for experts in between] == [2, 1]


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"segment_lengths": ()}, "segment lengths"),
        ({"segment_lengths": (0,)}, "segment lengths"),
        ({"cache_ratios": (0.5,)}, "cache ratios"),
        ({"cache_ratios": ()}, "cache ratios"),
    ],
)
def test_caches_that_are_none(settings: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        CacheHits.empty([0], num_experts=4, top_k=2, **settings)
