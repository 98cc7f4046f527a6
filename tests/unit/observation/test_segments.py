"""Segment routing best performance, against trying every router on every segment, and its limits."""

from __future__ import annotations

import numpy as np
import pytest

from reference import routing_analyses as reference
from reference.made_up_routing import SHAPES, flat, routing
from switchyard.errors import InputError
from switchyard.observation.routed_tokens import RoutedTokens
from switchyard.observation.segments import SegmentUses, segment_router

LENGTHS = (5, 1, 3)


def rows(
    experts: np.ndarray, lengths: list[int], num_experts: int, segment_lengths: tuple = LENGTHS
) -> list[dict]:
    sizes = {"num_experts": num_experts, "top_k": experts.shape[2]}
    counter = SegmentUses.empty(range(len(experts)), **sizes, segment_lengths=segment_lengths)
    counter.observe(RoutedTokens(experts, lengths, num_experts=num_experts))
    return counter.table().to_pylist()


@pytest.mark.parametrize("num_experts, top_k, lengths", SHAPES)
def test_it_equals_trying_every_router(num_experts: int, top_k: int, lengths: list[int]) -> None:
    texts = routing(num_experts, top_k, lengths)
    found = rows(*flat(texts, top_k), num_experts)
    assert [(row["layer"], row["segment_length"]) for row in found] == [
        (layer, length) for layer in range(3) for length in sorted(LENGTHS)
    ]
    for row in found:
        text, length = texts[row["layer"]], row["segment_length"]
        assert row["segments"] == len(reference.segments(text, length))
        f1, uses, ratio = reference.segment_routing(text, length, num_experts) or (None,) * 3
        assert row["segment_routing_best_performance"] == pytest.approx(f1)
        assert row["uses_to_activate"] == uses and row["size_ratio"] == pytest.approx(ratio)
        if reference.tokens_of(text):
            expected = reference.independent_segment_routing(text, length, num_experts)
            assert row["expected_segment_routing_best_performance"] == pytest.approx(expected)


def test_one_token_is_routed_as_it_wants() -> None:
    for row in rows(*flat(routing(6, 2, [9, 4]), 2), 6, (1,)):
        assert row["segment_routing_best_performance"] == 1 and row["size_ratio"] == 1


def test_a_text_that_never_changes_its_experts() -> None:
    (row,) = rows(np.array([[[3, 1]] * 7]), [7], 6, (4,))
    assert row["segment_routing_best_performance"] == row["expected_segment_routing_best_performance"] == 1
    assert row["segments"] == 4 and row["size_ratio"] == 1


def test_locality_shows_against_what_is_expected() -> None:
    """Every expert is used alike, but by a run of tokens: perfect within most segments, poor if independent."""
    experts = np.repeat(np.arange(8), 50).reshape(1, -1, 1)
    (row,) = rows(experts, [400], 8, (4,))
    assert row["segment_routing_best_performance"] > 0.97
    assert row["expected_segment_routing_best_performance"] < 0.6


def test_equally_good_routers_activate_from_the_fewest_uses() -> None:
    """Two experts used by both tokens of a segment, none by one: a = 1 and a = 2 do the same."""
    assert segment_router(np.array([4, 0, 2])) == (1.0, 1, 1.0)


@pytest.mark.parametrize("lengths", [(), (0,), (4, -1)])
def test_segment_lengths_that_are_none(lengths: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="segment lengths"):
        SegmentUses.empty([0], num_experts=4, top_k=2, segment_lengths=lengths)
