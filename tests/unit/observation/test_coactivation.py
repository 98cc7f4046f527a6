"""Co-activation over all pairs, against counting them one by one, and its limits."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from reference import routing_analyses as reference
from reference.made_up_routing import SHAPES, flat, routing
from switchyard.observation.coactivation import Coactivation
from switchyard.observation.routed_tokens import RoutedTokens


def rows(experts: np.ndarray, lengths: list[int], num_experts: int) -> list[dict]:
    counter = Coactivation.empty(range(len(experts)), num_experts=num_experts, top_k=experts.shape[2])
    counter.observe(RoutedTokens(experts, lengths, num_experts=num_experts))
    return counter.table().to_pylist()


@pytest.mark.parametrize("num_experts, top_k, lengths", SHAPES)
def test_it_equals_counting(num_experts: int, top_k: int, lengths: list[int]) -> None:
    texts = routing(num_experts, top_k, lengths)
    found = rows(*flat(texts, top_k), num_experts)
    expected = []
    for layer, text in enumerate(texts):
        total = len(reference.tokens_of(text))
        uses = [reference.uses(text, expert) for expert in range(num_experts)]
        for expert, other in permutations(range(num_experts), 2):
            together = reference.together(text, expert, other)
            share = together / uses[expert] if uses[expert] else None
            independent = uses[other] / total if total else None
            expected.append((layer, expert, other, together, uses[expert], share, independent))
    assert [tuple(row.values()) for row in found] == expected


def test_all_pairs_count_not_neighbouring_ranks_alone() -> None:
    found = rows(np.array([[[0, 1, 2, 3]]]), [1], 5)
    assert sum(row["together"] for row in found) == 4 * 3


def test_experts_in_another_order_are_the_same() -> None:
    experts, lengths = flat(routing(6, 3, [12]), 3)
    assert rows(experts, lengths, 6) == rows(experts[:, :, ::-1], lengths, 6)


def test_evenly_used_experts_chosen_at_random() -> None:
    """Every subset of k experts once: together for (k - 1) / (E - 1) of an expert's tokens."""
    subsets = np.array([[(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]])
    for row in rows(subsets, [6], 4):
        assert row["share"] == pytest.approx(1 / 3) and row["expected_share"] == pytest.approx(1 / 2)


def test_experts_that_are_always_used() -> None:
    assert all(row["share"] == row["expected_share"] == 1 for row in rows(*flat(routing(3, 3, [5]), 3), 3))
