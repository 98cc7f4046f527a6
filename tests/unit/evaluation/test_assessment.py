"""An untouched model's scores against chance, and the balance of its experts."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
import torch

from switchyard.evaluation.assessment import UsageCounter, assess, chance, most_frequent_word
from switchyard.evaluation.experiment import run_experiment

STRUCTURE = {"num_layers": 2, "num_experts": 8}


class Chosen(NamedTuple):
    """Stands in for Selection."""

    experts: torch.Tensor


class Context(NamedTuple):
    """Stands in for TokenContext."""

    is_token: torch.Tensor


def counted(experts: list[list[int]], real: list[bool], *, num_experts: int = 4) -> UsageCounter:
    counter = UsageCounter(1, num_experts)
    counter.observe(0, None, Chosen(torch.tensor(experts)), Context(torch.tensor(real)))
    return counter


# --- balance


def test_even_use_is_one_times_the_even_share() -> None:
    layer = counted([[0, 1], [2, 3]], [True, True]).balance()[0]
    assert layer == {"layer": 0, "experts_used": 4, "busiest_over_even": 1.0}


def test_a_collapsed_layer_is_as_many_times_the_even_share_as_there_are_experts() -> None:
    layer = counted([[2], [2], [2]], [True] * 3).balance()[0]
    assert layer["experts_used"] == 1 and layer["busiest_over_even"] == 4.0


def test_padding_and_unused_slots_are_not_counted() -> None:
    counter = counted([[0, 4], [1, 4], [3, 3]], [True, True, False])
    assert counter.uses[:, :-1].tolist() == [[1, 1, 0, 0]]


def test_use_adds_up_over_forwards_and_stays_within_its_layer() -> None:
    counter, rng = UsageCounter(3, 5), np.random.default_rng(0)
    expected = np.zeros((3, 5), int)
    for _ in range(4):
        for layer in range(3):
            chosen = np.stack([rng.permutation(5)[:2] for _ in range(6)])
            counter.observe(
                layer, None, Chosen(torch.from_numpy(chosen)), Context(torch.ones(6, dtype=torch.bool))
            )
            for expert in chosen.ravel():
                expected[layer, expert] += 1
    assert np.array_equal(counter.uses[:, :-1], expected)
    for layer, found in enumerate(counter.balance()):
        assert found["busiest_over_even"] == pytest.approx(max(expected[layer]) / (48 / 5))


# --- chance


def test_chance_of_a_choice_is_one_over_its_options() -> None:
    table = pa.table({"options": [["a", "b"], ["a", "b", "c", "d"]]})
    assert chance("choice", table) == pytest.approx(0.375)


def test_chance_of_a_cloze_is_the_most_frequent_word() -> None:
    table = pa.table(
        {"context": ["tree wolf, wolf", "tree wolf", "the the the tree"], "target": ["wolf", "wolf", "tree"]}
    )
    assert chance("cloze", table) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", ""),
        ("of the of", ""),
        ("wolf tree", "wolf"),
        ("tree\n`wolf` wolf.", "wolf"),
        ("the the the tree", "tree"),
    ],
)
def test_the_most_frequent_word_is_the_earlier_of_equals(text: str, word: str) -> None:
    assert most_frequent_word(text) == word


# --- the whole


@pytest.fixture(scope="module")
def found(model: Any, tokenizer: Any, tables: dict[str, pa.Table]) -> dict[str, Any]:
    torch.set_num_threads(1)
    lengths = dict.fromkeys(tables, 32)
    return assess(
        model, tokenizer, tables, structure=STRUCTURE, max_length=lengths, samples=5, batch_tokens=64
    )


def test_scores_are_those_of_an_experiment(
    found: dict, model: Any, tokenizer: Any, tables: dict[str, pa.Table]
) -> None:
    for kind, table in tables.items():
        scores = run_experiment(model, tokenizer, None, table, max_length=32, samples=5, batch_tokens=64)
        own = found["datasets"][kind]
        assert own["kind"] == kind and own["samples"] == len(scores) == 5
        if kind == "perplexity":
            mean = sum(scores["loss"].to_pylist()) / sum(scores["loss_tokens"].to_pylist())
            assert own["perplexity"] == pytest.approx(math.exp(mean))
            continue
        right = scores["correct_norm" if kind == "choice" else "correct"].to_pylist()
        assert own["accuracy"] == pytest.approx(sum(right) / 5)
        assert own["standard_error"] == pytest.approx(np.std(right) / math.sqrt(5))
        assert 0 <= own["chance"] <= 1


def test_chance_is_that_of_the_samples_scored(found: dict, tables: dict[str, pa.Table]) -> None:
    assert found["datasets"]["choice"]["chance"] == pytest.approx(1 / 3)
    assert found["datasets"]["cloze"]["chance"] == chance("cloze", tables["cloze"].slice(0, 5))


def test_every_layer_is_reported(found: dict) -> None:
    assert [layer["layer"] for layer in found["layers"]] == [0, 1]
    for layer in found["layers"]:
        assert 2 <= layer["experts_used"] <= 8 and 1.0 <= layer["busiest_over_even"] <= 8.0
