"""Configurations compared by the problems that they solve, against counting by hand and scipy."""

from __future__ import annotations

import random
from typing import Any

import pytest
from scipy.stats import binomtest

from switchyard.statistics.solved import compare_solved


def score(config: str, solved: list[bool], k: int = 4) -> dict[str, Any]:
    problems = [{"task_id": f"p{place}", "passed": int(one)} for place, one in enumerate(solved)]
    head = {"config": config, "strategy": "topk", "k_or_max_k": k, "trained_top_k": 2}
    return {**head, "pass@1": sum(solved) / len(solved), "greedy": {"per_problem": problems}}


def test_counts_and_tests() -> None:
    draw = random.Random(0)
    first, second, third = ([draw.random() < share for _ in range(60)] for share in (0.7, 0.3, 0.7))
    found = compare_solved([score("a", second), score("trained", first, k=2), score("c", third)])
    assert found["reference"] == "trained" and [one["config"] for one in found["comparisons"]] == ["a", "c"]
    one = found["comparisons"][0]
    only_first = sum(x and not y for x, y in zip(first, second))
    only_second = sum(y and not x for x, y in zip(first, second))
    assert (one["only_first"], one["only_second"]) == (only_first, only_second)
    assert one["both"] + one["neither"] + only_first + only_second == one["problems"] == 60
    assert one["p"] == pytest.approx(binomtest(only_first, only_first + only_second).pvalue)
    assert one["p_holm"] == pytest.approx(2 * one["p"]) and one["verdict"] == "worse"
    assert found["comparisons"][1]["verdict"] == "not distinguishable"


def test_without_the_trained_top_k_the_first_is_the_reference() -> None:
    assert compare_solved([score("a", [True]), score("b", [False])])["reference"] == "a"
    assert compare_solved([score("a", [True])])["comparisons"] == []
