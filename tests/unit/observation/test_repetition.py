"""Consecutive-token repetition, against looking at pairs one by one, and the figures of the Mixtral paper."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from reference import routing_analyses as reference
from reference.made_up_routing import SHAPES, flat, routing
from switchyard.observation.repetition import Repetition
from switchyard.observation.routed_tokens import RoutedTokens

MEASURES = ("share", "first_choice_share", "first_or_second_choice_share")


def rows(experts: np.ndarray, lengths: list[int], num_experts: int) -> list[dict]:
    counter = Repetition.empty(range(len(experts)), num_experts=num_experts, top_k=experts.shape[2])
    counter.observe(RoutedTokens(experts, lengths, num_experts=num_experts))
    return counter.table().to_pylist()


@pytest.mark.parametrize("num_experts, top_k, lengths", SHAPES)
def test_it_equals_looking_at_pairs(num_experts: int, top_k: int, lengths: list[int]) -> None:
    texts = routing(num_experts, top_k, lengths)
    found = rows(*flat(texts, top_k), num_experts)
    for row, text in zip(found, texts, strict=True):
        pairs = reference.neighbours(text)
        assert row["tokens"] == len(reference.tokens_of(text)) and row["neighbours"] == len(pairs)
        for prefix, of in (("", pairs), ("expected_", reference.independent_pairs(text))):
            expected = list(reference.measures_of_repetition(of) or (None,) * 3)
            if top_k == 1:
                expected[2] = None
            assert [row[prefix + name] for name in MEASURES] == pytest.approx(expected)


def test_evenly_used_pairs_are_expected_as_in_the_mixtral_paper() -> None:
    every = np.array([list(permutations(range(8), 2))])
    (row,) = rows(every, [56], 8)
    assert row["expected_share"] == pytest.approx(0.25)
    assert row["expected_first_choice_share"] == pytest.approx(0.125)
    assert row["expected_first_or_second_choice_share"] == pytest.approx(1 - 6 / 8 * 5 / 7)


def test_a_layer_that_always_does_the_same_repeats_as_expected() -> None:
    (row,) = rows(np.array([[[2, 0]] * 5]), [5], 4)
    assert all(row[name] == row["expected_" + name] == 1 for name in MEASURES)


def test_the_end_of_a_sequence_is_no_neighbour_of_the_next() -> None:
    experts = np.array([[[0], [0], [1], [1]]])
    assert rows(experts, [2, 2], 2)[0]["share"] == 1
    assert rows(experts, [4], 2)[0]["share"] == pytest.approx(2 / 3)
    assert rows(experts, [1, 2, 1], 2)[0]["share"] == 0


def test_only_the_first_two_choices_count_as_such() -> None:
    (row,) = rows(np.array([[[0, 1, 2], [3, 4, 2]]]), [2], 5)
    assert row["share"] == pytest.approx(1 / 3) and row["first_or_second_choice_share"] == 0
