"""Streaming statistics against a loop over tokens."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from reference.routing_statistics import LoopStatistics, Routed, routed
from switchyard.errors import InputError
from switchyard.observation.statistics import RoutingStatistics, lists_as_json, measure

DOMAINS = ("books", "code", "web")


def made_up(kind: str, tokens: int = 400, experts: int = 8, seed: int = 0) -> torch.Tensor:
    """Logits [tokens, experts] that are random, tied, constant or extreme."""
    logits = torch.randn(tokens, experts, generator=torch.Generator().manual_seed(seed)) * 3
    match kind:
        case "tied":
            return logits.round()
        case "constant":
            return torch.ones(tokens, experts)
        case "half":
            return logits.half()
        case "bfloat16":
            return logits.bfloat16()
        case "double":
            return logits.double()
        case "huge":
            return logits * 1e37
        case "huge half":
            return (logits * 1e4).clamp(-65504, 65504).half()
        case "infinite":
            logits[::3, 1:4] = -math.inf
            logits[1::3, 1:] = -math.inf
            return logits
    return logits


KINDS = ("random", "tied", "constant", "half", "bfloat16", "double", "huge", "huge half", "infinite")


@pytest.mark.parametrize("experts, top_k", [(8, 2), (64, 8), (3, 3), (1, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_token_is_measured_as_by_a_softmax(kind: str, experts: int, top_k: int) -> None:
    logits = made_up(kind, 60, experts)
    found = measure(logits, top_k)
    expected = [routed(row, top_k) for row in logits]
    assert found.values[0] == pytest.approx([token.entropy for token in expected], abs=3e-6)
    assert found.values[1] == pytest.approx([token.confidence for token in expected], abs=1e-6)
    assert found.top.tolist() == [token.top for token in expected]
    assert found.used.tolist() == [token.used for token in expected]
    assert (found.values[0] >= 0).all() and (found.values[0] <= math.log(experts)).all()


def test_equal_infinite_logits_are_equal() -> None:
    found = measure(torch.tensor([[-math.inf] * 4, [math.inf, 0, math.inf, 1], [math.inf, 0, 1, 2]]), 2)
    assert found.values[0] == pytest.approx([math.log(4), math.log(2), 0])
    assert found.top.tolist() == [0, 0, 0]


def observed(
    logits: torch.Tensor, keys: np.ndarray, domain: np.ndarray, *, top_k: int, cuts: list[int], num_keys: int
) -> tuple[RoutingStatistics, LoopStatistics]:
    """Both statistics of two layers: one in batches that end at `cuts`, one token by token.

    Where a token stands in a batch moves the last bit of its float32 entropy: both are given the same ones.
    """
    experts = logits.shape[1]
    own = RoutingStatistics(2, num_keys, experts, domains=DOMAINS, top_k=top_k)
    loop = LoopStatistics(top_k)
    for layer, values in enumerate((logits, logits.flip(0))):
        for part in np.split(np.arange(len(keys)), cuts):
            own.update(layer, keys[part], values[part], domain[part])
            found = measure(values[part], top_k) if len(part) else None
            for place, token in enumerate(part):
                numbers = found.values[:, place].tolist()
                top, shares = int(found.top[place]), routed(values[token], top_k).probabilities
                one = Routed(*numbers, top, found.used[place].tolist(), shares)
                loop.add(layer, int(keys[token]), one, int(domain[token]))
    return own, loop


def assert_equal(own: RoutingStatistics, loop: LoopStatistics) -> None:
    rows = own.table(lambda key: f"<{key}>").to_pylist()
    for row, expected in zip(rows, loop.rows(), strict=True):
        assert list(row) == list(expected)
        assert row.pop("token_str") == expected.pop("token_str")
        assert row.pop("experts") == expected.pop("experts")
        assert row.pop("weights") == pytest.approx(expected.pop("weights"), rel=1e-5, abs=1e-7)
        assert row == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert own.counts().to_pylist() == loop.counts(DOMAINS)


@pytest.mark.parametrize("num_keys", [1, 5, 300])
@pytest.mark.parametrize("kind", KINDS)
def test_batches_give_what_a_loop_over_tokens_gives(kind: str, num_keys: int) -> None:
    random = np.random.default_rng(1)
    keys, domain = random.integers(0, num_keys, 400), random.integers(0, 3, 400)
    own, loop = observed(
        made_up(kind), keys, domain, top_k=2, cuts=[0, 1, 2, 150, 399, 400], num_keys=num_keys
    )
    assert_equal(own, loop)


@pytest.mark.parametrize("experts, top_k", [(1, 1), (2, 2), (64, 8)])
def test_any_number_of_experts(experts: int, top_k: int) -> None:
    random = np.random.default_rng(2)
    keys, domain = random.integers(0, 9, 100), np.zeros(100, int)
    own, loop = observed(made_up("tied", 100, experts), keys, domain, top_k=top_k, cuts=[50], num_keys=9)
    assert_equal(own, loop)


def test_shards_merge_into_the_whole(tmp_path) -> None:
    logits, random = made_up("random"), np.random.default_rng(3)
    keys, domain = random.zipf(1.3, 400) % 50, random.integers(0, 3, 400)
    parts = np.array_split(np.arange(400), 7)
    cuts = [part[0] for part in parts[1:]]
    whole, loop = observed(logits, keys, domain, top_k=2, cuts=cuts, num_keys=50)
    empty = RoutingStatistics(2, 50, 8, domains=DOMAINS, top_k=2)
    merged = RoutingStatistics(2, 50, 8, domains=DOMAINS, top_k=2)
    for part in parts:
        shard = RoutingStatistics(2, 50, 8, domains=DOMAINS, top_k=2)
        shard.update(0, keys[part], logits[part], domain[part])
        shard.update(1, keys[part], logits.flip(0)[part], domain[part])
        shard.save(tmp_path / "shard.safetensors", {"part": "one"})
        merged.merge(RoutingStatistics.load(tmp_path / "shard.safetensors"))
        merged.merge(empty)
    assert_equal(merged, loop)
    for name in ("frequency", "uses", "tops"):
        assert np.array_equal(getattr(whole, name), getattr(merged, name))


def test_the_model_s_own_experts_are_counted_where_they_are_given() -> None:
    own = RoutingStatistics(1, 2, 3, top_k=2)
    own.update(
        0, torch.tensor([1, 1]), torch.tensor([[3.0, 2, 1], [3, 2, 2]]), 0, torch.tensor([[0, 1], [0, 2]])
    )
    assert own.uses[0, 0].tolist() == [[0, 0, 0], [2, 1, 1]]
    assert own.tops[0, 0].tolist() == [[0, 0, 0], [2, 0, 0]]


def test_ties_of_the_top_expert_go_to_the_lowest_index() -> None:
    own = RoutingStatistics(1, 1, 3, top_k=1)
    own.update(0, np.zeros(4, int), torch.eye(3)[[2, 1, 2, 1]])
    row = own.table(str).to_pylist()[0]
    assert (row["top_expert"], row["routing_consistency"]) == (1, 0.5)


@pytest.mark.parametrize("normalise, scale", [(False, 1.0), (True, 1.0), (True, 2.5), (False, 0.5)])
def test_weights_follow_the_models_convention(normalise: bool, scale: float) -> None:
    logits, random = made_up("random"), np.random.default_rng(4)
    keys = random.integers(0, 7, 400)
    loop = LoopStatistics(3, normalise=normalise, scale=scale)
    loop.update(0, keys, logits, [0] * 400, 3)
    own = RoutingStatistics(1, 7, 8, top_k=3, normalise=normalise, scale=scale)
    for part in np.array_split(np.arange(400), 3):
        own.update(0, keys[part], logits[part])
    for row, expected in zip(own.table(str).to_pylist(), loop.rows(), strict=True):
        assert row["experts"] == expected["experts"]
        assert row["weights"] == pytest.approx(expected["weights"], rel=1e-6)
        assert not normalise or sum(row["weights"]) == pytest.approx(scale)


def test_a_router_s_own_probabilities_take_the_place_of_the_softmax() -> None:
    own = RoutingStatistics(1, 1, 3, top_k=2)
    own.update(
        0, [0, 0], torch.zeros(2, 3), 0, [[2, 0], [2, 1]], torch.tensor([[0.5, 0, 0.75], [0, 0.5, 0.25]])
    )
    row = own.table(str).to_pylist()[0]
    assert (row["experts"], row["weights"]) == ([2, 0], [0.5, 0.25])


def test_a_csv_has_lists_as_json() -> None:
    own = RoutingStatistics(1, 2, 3, top_k=2)
    assert lists_as_json(own.table(str)).schema.field("weights").type == "string"
    own.update(0, [1, 0], torch.tensor([[0.0, 3, 1], [5, 0, 0.1]]))
    table = own.table(str)
    text = lists_as_json(table)
    assert text.drop(["experts", "weights"]) == table.drop(["experts", "weights"])
    for name in ("experts", "weights"):
        assert [np.float32(json.loads(one)).tolist() for one in text[name].to_pylist()] == table[
            name
        ].to_pylist()


def test_layers_keep_their_numbers() -> None:
    own = RoutingStatistics(2, 1, 2, top_k=1, layers=(3, 7))
    own.update(7, [0], torch.zeros(1, 2))
    assert own.table(str)["layer"].to_pylist() == own.counts()["layer"].to_pylist() == [7]


def test_nothing_seen_leaves_no_row() -> None:
    own = RoutingStatistics(2, 4, 3, top_k=1)
    own.update(1, np.empty(0, int), torch.empty(0, 3))
    own.merge(RoutingStatistics(2, 4, 3, top_k=1))
    assert own.table(str).num_rows == own.counts().num_rows == 0
    assert own.counts().column_names == ["layer", "domain", "token_id", "expert", "count", "top_count"]


@pytest.mark.parametrize(
    "key, domain, value", [(4, 0, 0.0), (-1, 0, 0.0), (0, 1, 0.0), (0, -1, 0.0), (0, 0, math.nan)]
)
def test_what_cannot_be_counted_is_refused_and_leaves_no_trace(key: int, domain: int, value: float) -> None:
    own = RoutingStatistics(1, 4, 2, top_k=1)
    with pytest.raises(InputError, match="routing statistics"):
        own.update(0, [0, key], torch.tensor([[0.0, 1], [value, 1]]), [0, domain])
    assert not own.frequency.any() and not own.uses.any() and not own.tops.any()


def test_shapes_that_differ_do_not_merge() -> None:
    with pytest.raises(InputError, match="shapes differ"):
        RoutingStatistics(1, 4, 2, top_k=1).merge(RoutingStatistics(1, 4, 2, top_k=2))
    with pytest.raises(InputError, match="top_k is 3"):
        RoutingStatistics(1, 4, 2, top_k=3)
