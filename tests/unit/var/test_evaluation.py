"""Evaluations with and without VAR on a small real model, and what a trace says of its paths."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from reference.tiny import tiny_model, tiny_tokenizer
from switchyard.evaluation.experiment import run_experiment
from switchyard.evaluation.sequences import build_samples
from switchyard.routing import attach
from switchyard.text.kinds import kind_of
from switchyard.traces.writer import TraceWriter
from switchyard.var import RoutingTable, VARConfig, VARRouter
from switchyard.var.evaluation import cache_simulation, draw_samples, evaluate, identified

TEXT = "the dog reads and the cat writes it in a house for all of their other first"


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer()


def pages(number: int = 6) -> pa.Table:
    """Running text, a page a row."""
    texts = [" ".join(TEXT.split()[start:] * 3) for start in range(number)]
    sizes = [len(text.encode()) for text in texts]
    words = [len(text.split()) for text in texts]
    return pa.table({"text": texts, "original_bytes": sizes, "original_words": words})


def clozes() -> pa.Table:
    return pa.table(
        {"sample_id": [0, 1, 2], "context": [TEXT, f"all {TEXT}", f"some {TEXT}"], "target": ["dog"] * 3}
    )


def every_token(model: Any, *, used: int | None = None) -> VARRouter:
    """The fast path for all token ids."""
    ids = list(range(model.config.vocab_size))
    columns = {
        "token_id": ids,
        "frequency": [100] * len(ids),
        "mean_entropy": [0.0] * len(ids),
        "experts": [[token % 8, (token + 3) % 8] for token in ids],
        "weights": [[0.5, 0.25]] * len(ids),
    }
    return VARRouter(VARConfig(fast_path_experts=used), RoutingTable.of(pa.table(columns)))


def run(
    model: Any, tokenizer: Any, rule: Any, table: pa.Table | None = None, **settings: Any
) -> dict[str, Any]:
    asked = {"max_length": 16, "samples": 8, "seed": 0, "batch_tokens": 64, **settings}
    return evaluate(
        model,
        tokenizer,
        rule,
        *drawn(tokenizer, pages() if table is None else table, asked),
        batch_tokens=asked["batch_tokens"],
    )


def drawn(tokenizer: Any, table: pa.Table, asked: dict[str, Any]) -> tuple[str, list]:
    """Kind and drawn samples of a table."""
    built = build_samples(table, tokenizer, max_length=asked["max_length"])
    return kind_of(table), draw_samples(built, asked["samples"], asked["seed"])


def test_a_seed_draws_samples_without_replacement_and_in_order(tokenizer: Any) -> None:
    samples = build_samples(pages(), tokenizer, max_length=16)
    drawn = [[one.sample_id for one in draw_samples(samples, 8, seed)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(set(one)) == 8 and one == sorted(one) for one in drawn)
    assert draw_samples(samples, 10**6, 0) == samples


def test_the_untouched_model_scores_as_in_an_experiment(model: Any, tokenizer: Any) -> None:
    found = run(model, tokenizer, None, samples=10**6)
    scores = run_experiment(
        model, tokenizer, None, pages(), max_length=16, samples=None, batch_tokens=64
    ).to_pylist()
    loss, tokens = sum(row["loss"] for row in scores), sum(row["loss_tokens"] for row in scores)
    assert found["evaluation"]["perplexity"] == pytest.approx(math.exp(loss / tokens), rel=1e-12)
    assert found["evaluation"]["total_tokens"] == tokens
    bits = loss / math.log(2) / sum(row["bytes"] for row in scores)
    assert found["evaluation"]["bits_per_byte"] == pytest.approx(bits, rel=1e-12)
    assert found["evaluation"]["accuracy"] is None and found["var_stats"] is None
    assert [one["loss"] for one in found["samples"]] == [row["loss"] for row in scores]
    assert found["throughput"]["total_tokens"] == sum(row["tokens"] for row in scores)


def test_var_that_never_acts_is_the_untouched_model_and_one_that_does_is_not(
    model: Any, tokenizer: Any
) -> None:
    plain = run(model, tokenizer, None)
    idle = run(model, tokenizer, VARRouter(VARConfig(cache_size=0)))
    assert idle["samples"] == plain["samples"]
    assert idle["var_stats"]["overall"]["routing_distribution"]["learned"] == 100.0
    fast = run(model, tokenizer, every_token(model))
    assert fast["var_stats"]["overall"]["routing_distribution"]["fast"] == 100.0
    assert fast["samples"] != plain["samples"]
    assert fast["var_stats"]["overall"]["total_calls"] == 2 * fast["throughput"]["total_tokens"]
    assert fast["memory"]["var_bytes"] > 400 * 2 * (2 + 4)
    again = run(model, tokenizer, every_token(model))
    assert again["samples"] == fast["samples"] and again["var_stats"] == fast["var_stats"]


def test_tasks_have_an_accuracy(model: Any, tokenizer: Any) -> None:
    found = run(model, tokenizer, None, clozes(), max_length=64)
    assert found["evaluation"]["accuracy"] == np.mean([one["correct"] for one in found["samples"]])
    assert found["evaluation"]["bits_per_byte"] is None


def test_a_result_says_what_was_run(model: Any, tokenizer: Any) -> None:
    rule = every_token(model)
    found = identified(run(model, tokenizer, rule), "a", "tiny", "text", 0, rule, {})
    assert (found["mode"], found["name"], found["var_config"]["frequency_threshold"]) == ("var", "a", 50)


@torch.no_grad()
def test_a_trace_holds_the_path_of_each_token(model: Any, tmp_path: Path) -> None:
    seen = {}
    with TraceWriter(tmp_path / "a.parquet", num_experts=8, num_layers=2, has_paths=True) as writer:

        def observe(layer: int, logits: Any, selection: Any, context: Any) -> None:
            seen[layer] = selection.path[context.is_token].tolist()
            writer.observe(layer, logits, selection, context)

        rule = VARRouter(VARConfig(entropy_threshold=0.5), half(every_token(model)), tokens_per_second=1.0)
        with attach(model, rule, observer=observe):
            model(
                input_ids=torch.tensor([[5, 6, 7, 8, 9], [1, 10, 11, 12, 13]]),
                attention_mask=torch.tensor([[1] * 5, [0] + [1] * 4]),
            )
    rows = pq.read_table(tmp_path / "a.parquet").to_pandas()
    assert rows["path"].dtype == np.int8 and set(rows["path"]) == {0, 1}
    for layer in (0, 1):
        assert rows[rows["layer"] == layer]["path"].tolist() == seen[layer]


def half(router: VARRouter) -> RoutingTable:
    """The table of a router for even token ids only."""
    rows = router.table.on(torch.device("cpu"))
    ids = list(range(0, rows.frequency.shape[1] - 1, 2))
    columns = {
        "token_id": ids,
        "frequency": [100] * len(ids),
        "mean_entropy": [0.0] * len(ids),
        "experts": [rows.experts[0, token].tolist() for token in ids],
        "weights": [rows.weights[0, token].tolist() for token in ids],
    }
    return RoutingTable.of(pa.table(columns))


def test_the_simulation_finds_the_hits_of_the_run_itself_and_more_token_by_token(
    model: Any, tokenizer: Any
) -> None:
    config = VARConfig(confidence_threshold=0.2, context_window_size=1)
    rule = VARRouter(config, half(every_token(model)))
    asked = {"max_length": 16, "samples": 8, "seed": 0, "batch_tokens": 64}
    found = cache_simulation(
        model, tokenizer, rule, *drawn(tokenizer, pages(), asked), batch_tokens=asked["batch_tokens"]
    )
    own = run(model, tokenizer, VARRouter(config, half(every_token(model))))["var_stats"]["overall"]
    calls, shares = own["total_calls"], own["routing_distribution"]
    assert found["lookups"] == round(calls * (shares["cached"] + shares["learned"]) / 100)
    assert found["forward_hits"] == round(calls * shares["cached"] / 100) > 0
    assert found["sequential_hits"] > found["forward_hits"]
