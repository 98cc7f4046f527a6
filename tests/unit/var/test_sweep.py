"""A sweep against plain loops: routes of a dict, one sequence at a time, sums by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from reference.tiny import WORDS, tiny_model, tiny_tokenizer
from reference.var_sweep import TokenByToken, losses, most_used
from switchyard.evaluation.sequences import Sample, build_samples
from switchyard.models.blocks import describe, find_moe_blocks
from switchyard.models.costs import flops_per_token
from switchyard.statistics.multiplicity import holm
from switchyard.text.sources import Row
from switchyard.text.tasks import prepare
from switchyard.var.config import VARConfig
from switchyard.var.grid import Grid
from switchyard.var.router import VARRouter
from switchyard.var.sweep import SETTINGS, Observed, sweep
from switchyard.var.table import RoutingTable

LAYERS, EXPERTS, TOP_K = 2, 8, 4
GRID = Grid(
    quantiles=[0.3, 0.7, 1],
    frequency_thresholds=[4, 1],
    fast_path_shares=[1, 0.5],
    confidence_quantiles=[0, 0.5],
    context_windows=[1, 0],
)


class Made:
    """A tiny model, its text, and made-up statistics of it."""

    def __init__(self) -> None:
        self.tokenizer = tiny_tokenizer()
        self.model = tiny_model(vocabulary=len(self.tokenizer), experts=EXPERTS, top_k=TOP_K)
        words = WORDS.split()
        texts = [" ".join(words[one : one + 6]) for one in range(0, 36, 4)]
        rows = [Row.of("made.jsonl", number, {"text": text}) for number, text in enumerate(texts, 1)]
        self.dataset = prepare(rows, kind="perplexity", layout="plain")
        self.samples: list[Sample] = build_samples(self.dataset, self.tokenizer, max_length=24)
        self.structure = describe(self.model.config)
        rng = np.random.default_rng(0)
        known = rng.permutation(len(self.tokenizer))[:300]
        keys = [(layer, int(token)) for layer in range(LAYERS) for token in known]
        self.rows = [
            {
                "layer": layer,
                "token_id": token,
                "frequency": int(rng.integers(1, 12)),
                "mean_entropy": float(rng.uniform(0.2, math.log(EXPERTS))),
                "experts": rng.permutation(EXPERTS)[:TOP_K].tolist(),
                "weights": rng.dirichlet(np.ones(TOP_K)).astype(np.float32).tolist(),
            }
            for layer, token in keys
        ]
        self.counts = [
            {"layer": row["layer"], "domain": domain, "token_id": row["token_id"], "expert": expert}
            | {"count": int(rng.integers(1, 9))}
            for row in self.rows
            for expert in row["experts"]
            for domain in ("a", "b")
        ]
        self.observed = Observed(
            pa.Table.from_pylist(self.rows), pa.Table.from_pylist(self.counts), self.structure
        )


@pytest.fixture(scope="module")
def made() -> Made:
    return Made()


@pytest.fixture(scope="module")
def swept(made: Made) -> list[dict[str, Any]]:
    done: list[int] = []
    found = sweep(
        made.model,
        made.tokenizer,
        made.dataset,
        made.samples,
        made.observed,
        GRID,
        batch_tokens=24,
        tokens_per_second=10.0,
        progress=done.append,
    )
    assert len(done) == GRID.count(TOP_K) == len(found) - 1
    return found.to_pylist()


def point(swept: list[dict[str, Any]], kind: str, **settings: Any) -> dict[str, Any]:
    (row,) = [
        row
        for row in swept
        if row["kind"] == kind and all(row[name] == value for name, value in settings.items())
    ]
    return row


def looked_up(made: Made, row: dict[str, Any]) -> TokenByToken:
    """The rule of a row of kind `fast_path`, from the rows of the table."""
    table = {(one["layer"], one["token_id"]): one for one in made.rows}
    used = row["fast_path_experts"]

    def route(layer: int, token: int, probabilities: list[float]) -> tuple[list[int], list[float]] | None:
        known = table.get((layer, token))
        if known is None or known["frequency"] < row["frequency_threshold"]:
            return None
        if np.float32(known["mean_entropy"]) >= np.float32(row["entropy_threshold"]):
            return None
        experts = known["experts"][:used]
        if row["route_weights"] == "live":
            return experts, [probabilities[one] for one in experts]
        return experts, known["weights"][:used]

    return TokenByToken(route, TOP_K, made.structure["normalise"])


@pytest.mark.parametrize(
    ("quantile", "frequency", "used", "weights"),
    [(0.3, 4, 4, "table"), (0.7, 4, 2, "live"), (1, 4, 2, "table"), (1, 1, 4, "live")],
)
def test_a_fast_path_point_is_what_plain_loops_give(made, swept, quantile, frequency, used, weights):
    row = point(
        swept,
        "fast_path",
        quantile=quantile,
        frequency_threshold=frequency,
        fast_path_experts=used,
        route_weights=weights,
    )
    rule = looked_up(made, row)
    after, tokens = losses(made.model, made.samples, rule)
    before, _ = losses(made.model, made.samples, None)
    assert 0 < rule.looked_up < rule.tokens
    share = rule.looked_up / rule.tokens
    assert row["fast"] == row["coverage"] == pytest.approx(share)
    assert row["learned"] == pytest.approx(1 - share) and row["cached"] == 0
    assert row["mean_experts"] == pytest.approx(rule.experts / rule.tokens)
    assert row["loss"] == pytest.approx(sum(after) / sum(tokens), abs=1e-5)
    assert row["perplexity"] == pytest.approx(math.exp(row["loss"]))
    assert row["loss_difference"] == pytest.approx((sum(after) - sum(before)) / sum(tokens), abs=1e-5)
    router = 1.0 if weights == "live" else 1 - share
    assert row["router_share"] == pytest.approx(router)
    flops = flops_per_token(made.structure, rule.experts / rule.tokens, router)
    assert row["flops_per_token"] == pytest.approx(flops)
    assert row["flops_ratio"] == pytest.approx(flops / flops_per_token(made.structure, TOP_K))


def test_the_first_quantiles_cover_little_and_the_last_all_that_is_frequent(made, swept):
    rows = [
        row
        for row in swept
        if row["kind"] == "fast_path" and row["fast_path_experts"] == 4 and row["route_weights"] == "live"
    ]
    own = [row for row in rows if row["frequency_threshold"] == 4]
    assert [row["quantile"] for row in own] == [0.3, 0.7, 1]
    assert own[0]["coverage"] < own[1]["coverage"] < own[2]["coverage"]
    assert own[2]["entropy_threshold"] == math.log(EXPERTS)
    occurrences = sorted(value for one in made.rows for value in [one["mean_entropy"]] * one["frequency"])
    assert own[1]["entropy_threshold"] == occurrences[math.ceil(0.7 * len(occurrences)) - 1]
    (more,) = [row for row in rows if row["frequency_threshold"] == 1]
    assert more["coverage"] > own[2]["coverage"]


@pytest.mark.parametrize("weights", ["table", "live"])
def test_the_router_share_is_the_share_of_rows_that_the_gates_saw(made, swept, weights, monkeypatch):
    row = point(swept, "fast_path", quantile=0.7, fast_path_experts=2, route_weights=weights)
    config = VARConfig(**{name: row[name] for name in SETTINGS[1:] if row[name] is not None}, cache_size=0)
    seen: list[int] = []
    for block in find_moe_blocks(made.model):
        monkeypatch.setattr(block.router, "forward", counting(block.router.forward, seen))
    losses(made.model, made.samples, VARRouter(config, RoutingTable.of(made.observed.table)))
    tokens = LAYERS * sum(len(sample.sequences[0].input_ids) for sample in made.samples)
    assert row["router_share"] == pytest.approx(sum(seen) / tokens)


def counting(gate: Callable[..., Any], seen: list[int]) -> Callable[..., Any]:
    def forward(hidden: Any, *others: Any) -> Any:
        seen.append(hidden.flatten(0, -2).shape[0])
        return gate(hidden, *others)

    return forward


def test_a_table_without_a_key_lists_the_most_used_experts_of_each_layer(made, swept):
    lists = most_used(made.counts, TOP_K)
    table = RoutingTable.without_key(made.observed.counts, top_k=TOP_K, num_experts=EXPERTS)
    rows = table.on(made.model.device)
    assert {layer: rows.experts[table.row(layer), 0].tolist() for layer in lists} == lists

    def route(layer: int, token: int, probabilities: list[float]) -> tuple[list[int], list[float]]:
        experts = lists[layer][:2]
        return experts, [probabilities[one] for one in experts]

    rule = TokenByToken(route, TOP_K, made.structure["normalise"])
    after, tokens = losses(made.model, made.samples, rule)
    row = point(swept, "no_key", fast_path_experts=2)
    assert row["fast"] == 1.0 and row["mean_experts"] == 2.0 and row["router_share"] == 1.0
    assert row["loss"] == pytest.approx(sum(after) / sum(tokens), abs=1e-5)


def test_the_trained_static_rule_is_the_untouched_model_and_no_test(swept):
    first, trained = swept[0], [row for row in swept if row["kind"] == "static"][TOP_K - 1]
    assert first["kind"] == "untouched" and first["flops_ratio"] == 1.0
    for row in (first, trained):
        assert row["loss_difference"] == 0.0 and row["p"] is None and row["p_holm"] is None
        assert row["verdict"] == "not distinguishable" and row["static_k"] is None


def test_one_holm_family_for_all_points_and_one_for_those_beside_static(swept):
    for prefix in ("", "static_"):
        adjusted = holm([row[f"{prefix}p"] for row in swept])
        assert [row[f"{prefix}p_holm"] for row in swept] == adjusted
    tested = [row for row in swept if row["p"] is not None]
    assert len(tested) > 20 and all(row["p_holm"] >= row["p"] for row in tested)


def test_the_static_rule_beside_a_point_is_the_dearest_that_costs_no_more(swept):
    static = dict(enumerate([one for one in swept if one["kind"] == "static"], 1))
    for row in swept:
        if row["kind"] in ("untouched", "static"):
            continue
        able = [k for k, one in static.items() if one["flops_per_token"] <= row["flops_per_token"]]
        assert row["static_k"] == (max(able) if able else None)
        if able:
            expected = row["loss"] - static[max(able)]["loss"]
            assert row["static_loss_difference"] == pytest.approx(expected, abs=1e-12)
        else:
            assert row["static_loss_difference"] is None and row["static_verdict"] is None


def test_the_cache_alone_hits_what_stood_in_an_earlier_batch(swept):
    every, half = (
        point(swept, "cache", quantile=one, context_window_size=0, route_weights="table") for one in (0, 0.5)
    )
    assert every["confidence_threshold"] == 0.0
    assert every["cached"] > half["cached"] > 0 and every["fast"] == 0
    assert every["mean_experts"] == TOP_K and every["router_share"] == pytest.approx(every["learned"])
    longer = point(swept, "cache", quantile=0, context_window_size=1, route_weights="table")
    assert longer["cached"] < every["cached"]


def test_shares_of_the_trained_number_of_experts() -> None:
    def experts(shares: list[float], top_k: int) -> list[int]:
        return replace(GRID, fast_path_shares=shares).experts(top_k)

    assert experts([1, 0.5, 0.25, 0.01], 8) == [8, 4, 2, 1]
    assert experts([1, 0.5], 1) == [1]
    assert experts([0.5], 3) == [2]
