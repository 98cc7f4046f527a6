"""Counts that merge exactly, come back from their arrays, and are refused where no routing can have them."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load, save

from reference.made_up_routing import SHAPES, flat, routing
from switchyard.errors import InputError
from switchyard.observation.caching import CacheHits
from switchyard.observation.coactivation import Coactivation
from switchyard.observation.counters import RoutingCounter, result_table
from switchyard.observation.repetition import Repetition
from switchyard.observation.routed_tokens import RoutedTokens
from switchyard.observation.segments import SegmentUses

KINDS = [Coactivation, Repetition, SegmentUses, CacheHits]


def counter(
    kind: type[RoutingCounter], texts: list, num_experts: int, top_k: int, numbers: range | None = None
) -> RoutingCounter:
    layers = numbers or range(len(texts))
    result = kind.empty(layers, num_experts=num_experts, top_k=top_k)
    result.observe(RoutedTokens(*flat(texts, top_k), num_experts=num_experts))
    return result


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_experts, top_k, lengths", SHAPES)
def test_shards_merged_are_the_whole(
    kind: type[RoutingCounter], num_experts: int, top_k: int, lengths: list[int]
) -> None:
    texts = routing(num_experts, top_k, lengths)
    whole = counter(kind, texts, num_experts, top_k)
    merged = kind.empty(range(len(texts)), num_experts=num_experts, top_k=top_k)
    for place in reversed(range(len(lengths))):
        shard = [[text[place]] for text in texts]
        merged.merge(kind.from_arrays(load(save(counter(kind, shard, num_experts, top_k).arrays()))))
    assert all(np.array_equal(value, merged.arrays()[name]) for name, value in whole.arrays().items())
    assert whole.table() == merged.table()


@pytest.mark.parametrize("kind", KINDS)
def test_permuting_layers_permutes_the_answer(kind: type[RoutingCounter]) -> None:
    texts = routing(6, 2, [5, 9])
    forwards = counter(kind, texts, 6, 2).table().to_pylist()
    backwards = counter(kind, texts[::-1], 6, 2).table().to_pylist()
    for row in backwards:
        row["layer"] = len(texts) - 1 - row["layer"]
    assert sorted(map(repr, forwards)) == sorted(map(repr, backwards))


@pytest.mark.parametrize("kind", KINDS)
def test_layers_keep_the_model_s_numbers(kind: type[RoutingCounter]) -> None:
    counted = counter(kind, routing(6, 2, [5]), 6, 2, range(3, 6))
    assert set(counted.table()["layer"].to_pylist()) == {3, 4, 5}
    with pytest.raises(InputError, match="layers differs between two shards"):
        counted.merge(counter(kind, routing(6, 2, [5]), 6, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_token_nothing_is_said(kind: type[RoutingCounter]) -> None:
    table = kind.empty([0, 1], num_experts=4, top_k=2).table()
    shares = [name for name in table.column_names if name.endswith(("share", "rate", "performance"))]
    assert shares and all(table[name].null_count == len(table) > 0 for name in shares)
    assert table.schema == counter(kind, routing(4, 2, [9]), 4, 2).table().schema


@pytest.mark.parametrize("kind", KINDS)
def test_every_count_that_is_changed_is_noticed(kind: type[RoutingCounter]) -> None:
    """One count too many anywhere is refused, but for those that nothing else says: bounds are all there are."""
    counted = counter(kind, routing(6, 2, [9, 4]), 6, 2)
    for name in ("tokens", "uses", "together", "choices", "histogram"):
        arrays = {key: value.copy() for key, value in counted.arrays().items()}
        if name in arrays:
            arrays[name].reshape(-1)[0] += 1
            with pytest.raises(InputError, match="counts break the rule that"):
                kind.from_arrays(arrays)
    for name in counted.arrays().keys() - set(kind.SETTINGS):
        for wrong in (-1, 10**6):
            arrays = counted.arrays() | {name: np.full_like(counted.arrays()[name], wrong)}
            with pytest.raises(InputError, match="counts break the rule that"):
                kind.from_arrays(arrays)


def test_a_state_without_an_array_is_refused() -> None:
    arrays = counter(Repetition, routing(6, 2, [9]), 6, 2).arrays()
    del arrays["choices"]
    with pytest.raises(InputError, match="choices is missing"):
        Repetition.from_arrays(arrays)


def test_other_settings_do_not_merge() -> None:
    own = SegmentUses.empty([0], num_experts=4, top_k=2, segment_lengths=(2,))
    with pytest.raises(InputError, match="segment_lengths differs"):
        own.merge(SegmentUses.empty([0], num_experts=4, top_k=2, segment_lengths=(3,)))


def test_a_batch_of_another_model_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(1, 4, 2\)"):
        Coactivation.empty([0], num_experts=4, top_k=2).observe(RoutedTokens([[[0]]], [1], num_experts=4))
    with pytest.raises(InputError, match="top_k is 5"):
        Coactivation.empty([0], num_experts=4, top_k=5)


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_what_is_no_share_is_refused(value: float) -> None:
    with pytest.raises(InputError, match="share: .* is no share"):
        result_table({"layer": [0, 1], "share": [np.nan, value]}, shares=["share"])


@pytest.mark.parametrize(
    "experts, lengths, told",
    [
        ([[0, 1]], [1], "have the shape"),
        ([[[]]], [1], "have the shape"),
        ([[[0, 1, 2, 3, 0]]], [1], "have the shape"),
        ([[[0, 1]]], [2], "lengths sum to 2, there are 1 tokens"),
        ([[[0, 1]]], [2, -1], "lengths sum"),
        ([[[0, 4]]], [1], "outside 0..3"),
        ([[[-1, 2]]], [1], "outside 0..3"),
        ([[[2, 2]]], [1], "names an expert twice"),
    ],
)
def test_bad_routing_is_refused(experts: list, lengths: list[int], told: str) -> None:
    with pytest.raises(InputError, match=told):
        RoutedTokens(experts, lengths, num_experts=4)
