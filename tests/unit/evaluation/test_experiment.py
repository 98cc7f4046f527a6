"""Experiments on a small real model: invariants that hold whatever its numbers are."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from switchyard.evaluation.experiment import run_experiment, run_repeat
from switchyard.routing.topk import TopK

KINDS = ["perplexity", "cloze", "choice"]


class Writer:
    """Keeps which tokens were routed, padding left out."""

    def __init__(self) -> None:
        self.forwards: list[list[tuple[int, int]]] = []
        self.tokens: Counter[tuple[int, int, int]] = Counter()

    def observe(self, layer: int, logits: Any, selection: Any, context: Any) -> None:
        real = context.is_token.tolist()
        names = zip(context.sample.tolist(), context.sequence.tolist(), strict=True)
        kept = [name for name, token in zip(names, real, strict=True) if token]
        self.tokens.update((layer, *name) for name in kept)
        if layer == 0:
            self.forwards.append(list(dict.fromkeys(kept)))


def run(model: Any, tokenizer: Any, table: pa.Table, rule: Any = None, **settings: Any) -> pa.Table:
    settings = {"max_length": 32, "samples": None, "batch_tokens": 128} | settings
    return run_experiment(model, tokenizer, rule, table, **settings)


def spread(a: pa.Table, b: pa.Table) -> float:
    """The largest difference between log-likelihoods."""
    pairs = zip(a["log_likelihood"].to_pylist(), b["log_likelihood"].to_pylist(), strict=True)
    return max(float(np.abs(np.subtract(x, y)).max()) for x, y in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_every_input_token_is_traced_once_per_layer_and_padding_never(
    model: Any, tokenizer: Any, tables: dict[str, pa.Table], kind: str
) -> None:
    writer = Writer()
    scores = run(model, tokenizer, tables[kind], TopK(2), trace_writer=writer)
    total = sum(scores["tokens"].to_pylist())
    assert Counter(layer for layer, _, _ in writer.tokens.elements()) == {0: total, 1: total}
    sequences = {(sample, sequence) for _, sample, sequence in writer.tokens}
    options = scores["target_tokens"].to_pylist()
    assert sequences == {(i, j) for i, row in enumerate(options) for j in range(len(row))}


@pytest.mark.parametrize("kind", KINDS)
def test_the_trained_rule_attached_scores_as_the_untouched_model(
    model: Any, tokenizer: Any, tables: dict[str, pa.Table], kind: str
) -> None:
    own = run(model, tokenizer, tables[kind])
    attached = run(model, tokenizer, tables[kind], TopK(model.config.num_experts_per_tok))
    assert spread(own, attached) < 1e-4
    assert own.drop(["log_likelihood", "loss"]).equals(attached.drop(["log_likelihood", "loss"]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_of_batches_changes_nothing_but_rounding(
    model: Any, tokenizer: Any, tables: dict[str, pa.Table], kind: str
) -> None:
    results = [run(model, tokenizer, tables[kind], TopK(4), batch_tokens=size) for size in (1, 100, 5000)]
    assert all(spread(results[0], other) < 1e-4 for other in results[1:])
    assert len({str(result["argmax_ids"].to_pylist()) for result in results}) == 1


def test_a_run_again_is_equal_bit_for_bit(model: Any, tokenizer: Any, tables: dict[str, pa.Table]) -> None:
    first, second = (run(model, tokenizer, tables["choice"], TopK(4)) for _ in range(2))
    assert first.equals(second)


def test_all_rules_see_the_same_batches(model: Any, tokenizer: Any, tables: dict[str, pa.Table]) -> None:
    writers = [Writer(), Writer()]
    for rule, writer in zip((TopK(1), TopK(8)), writers, strict=True):
        run(model, tokenizer, tables["choice"], rule, trace_writer=writer)
    assert writers[0].forwards == writers[1].forwards
    assert max(map(len, writers[0].forwards)) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_repeat_runs_the_first_samples_alone_and_backwards(
    model: Any, tokenizer: Any, tables: dict[str, pa.Table], kind: str
) -> None:
    writer = Writer()
    settings = {"max_length": 32, "samples": 5, "repeat_samples": 3, "trace_writer": writer}
    repeat = run_repeat(model, tokenizer, TopK(2), tables[kind], **settings)
    assert all(len(forward) == 1 for forward in writer.forwards)
    order = [sample for ((sample, _),) in writer.forwards]
    assert order == sorted(order, reverse=True)
    assert set(order) == {0, 1, 2}
    again = run(model, tokenizer, tables[kind], TopK(2), samples=5).slice(0, 3)
    assert repeat["sample_id"].to_pylist() == [0, 1, 2]
    assert spread(repeat, again) < 1e-4


def test_progress_counts_sequences(model: Any, tokenizer: Any, tables: dict[str, pa.Table]) -> None:
    done: list[int] = []
    run(model, tokenizer, tables["choice"], progress=done.append)
    assert sum(done) == 3 * tables["choice"].num_rows
