"""Router saturation against sets, and its limits."""

from __future__ import annotations

import numpy as np
import pytest

from reference import routing_analyses as reference
from reference.made_up_routing import flat, routing
from switchyard.errors import InputError
from switchyard.observation.saturation import saturation, saturation_table


@pytest.mark.parametrize(
    "num_experts, top_k, tokens", [(6, 2, 30), (64, 8, 40), (5, 1, 20), (3, 3, 9), (1, 1, 4), (8, 2, 1)]
)
def test_it_equals_sets(num_experts: int, top_k: int, tokens: int) -> None:
    checkpoints = {
        step: flat(routing(num_experts, top_k, [tokens], seed=step), top_k)[0] for step in (300, 20)
    }
    final = flat(routing(num_experts, top_k, [tokens], seed=1), top_k)[0]
    found = saturation_table(checkpoints, final, num_experts=num_experts, layers=[1, 4, 6]).to_pylist()
    assert [(row["step"], row["layer"]) for row in found] == [(s, n) for s in (20, 300) for n in (1, 4, 6)]
    for row in found:
        then, last = checkpoints[row["step"]], final
        place = [1, 4, 6].index(row["layer"])
        assert row["tokens"] == tokens
        assert row["saturation"] == pytest.approx(
            reference.saturation(then[place].tolist(), last[place].tolist())
        )
        assert row["first_choice_saturation"] == pytest.approx(
            reference.saturation(then[place, :, :1].tolist(), last[place, :, :1].tolist())
        )
        assert (row["chance"], row["first_choice_chance"]) == (top_k / num_experts, 1 / num_experts)


def test_limits() -> None:
    experts = flat(routing(6, 3, [20]), 3)[0][0]
    assert saturation(experts, experts) == saturation(experts[:, ::-1], experts) == 1
    assert saturation([[0, 1]], [[2, 3]]) == 0
    assert saturation([[0, 1], [2, 3]], [[1, 4], [3, 2]]) == 0.75


def test_random_experts_are_at_chance() -> None:
    rng = np.random.default_rng(0)
    then, final = (np.argsort(rng.random((20_000, 16)), axis=1)[:, :4] for _ in range(2))
    assert saturation(then, final) == pytest.approx(4 / 16, abs=0.01)


def test_no_checkpoints_no_rows() -> None:
    table = saturation_table({}, [[[0, 1]]], num_experts=4)
    assert len(table) == 0
    assert table.schema == saturation_table({1: [[[0, 1]]]}, [[[0, 1]]], num_experts=4).schema


@pytest.mark.parametrize(
    "then, final, told",
    [
        ([[0, 1]], [[0, 1], [2, 3]], "give the same tokens"),
        ([[0, 0]], [[0, 1]], "twice"),
        ([[0, 1]], [[1, 1]], "twice"),
        (np.empty((0, 2)), np.empty((0, 2)), "at least one"),
        ([0, 1], [0, 1], "at least one"),
    ],
)
def test_what_cannot_be_compared_is_refused(then: object, final: object, told: str) -> None:
    with pytest.raises(InputError, match=told):
        saturation(then, final)


def test_tables_of_other_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="at step 5"):
        saturation_table({5: [[[0, 1]]]}, [[[0, 1], [1, 2]]], num_experts=4)
    with pytest.raises(InputError, match="outside 0..3"):
        saturation_table({5: [[[0, 4]]]}, [[[0, 1]]], num_experts=4)
    with pytest.raises(InputError, match="at least one"):
        saturation_table({}, np.empty((1, 0, 2)), num_experts=4)
