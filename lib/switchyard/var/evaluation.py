"""One evaluation of a model with or without VAR: quality by sample, throughput, where tokens were routed."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from switchyard.evaluation.experiment import run_samples
from switchyard.evaluation.sequences import Sample
from switchyard.routing.attachment import attach
from switchyard.var.router import VARRouter
from switchyard.var.simulation import Recorder, Simulation, simulate


def draw_samples(samples: Sequence[Sample], number: int, seed: int) -> list[Sample]:
    """`number` of the samples, without replacement, in their order; all where there are no more.

    The draw follows from the seed and the number of samples alone.
    """
    if number >= len(samples):
        return list(samples)
    chosen = np.random.default_rng(seed).choice(len(samples), number, replace=False)
    return [samples[place] for place in sorted(chosen)]


def evaluate(
    model: torch.nn.Module,
    tokenizer: Any,
    rule: VARRouter | None,
    kind: str,
    samples: Sequence[Sample],
    *,
    batch_tokens: int,
    observer: Callable[..., None] | None = None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """`evaluation`, `throughput`, `memory`, `var_stats` and `samples` of a result.

    `evaluation`: mean `loss` in nats per target token, `perplexity`, `total_tokens` (targets), `bits_per_byte` for
    running text and `accuracy` for tasks, else None. `throughput`: input tokens over the seconds of this evaluation,
    which runs beside other jobs. `memory`: bytes of tables and caches, and peak bytes: on a card of this
    evaluation, on a CPU of the process so far. `samples`: `sample_id, loss, loss_tokens, bytes, correct` of each.

    Args:
        model: a Hugging Face MoE model in evaluation mode.
        tokenizer: its tokenizer.
        rule: VAR, or None for the untouched model.
        kind: perplexity, cloze or choice.
        samples: what `draw_samples` gave.
        batch_tokens: most tokens of a batch, padding included.
        observer: is shown every layer's routing (`attach`); the model's own router runs for all tokens then.
        progress: called with the number of sequences done.
    """
    tokens = sum(len(sequence.input_ids) for sample in samples for sequence in sample.sequences)
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
    with attach(model, rule, observer=observer, own_when_full=False) as attachment:
        start = time.perf_counter()
        scores = run_samples(model, tokenizer, attachment, kind, list(samples), batch_tokens, progress)
        seconds = time.perf_counter() - start
    router = attachment.rule
    return {
        "evaluation": summarised(kind, scores),
        "throughput": {
            "total_tokens": tokens,
            "elapsed_seconds": seconds,
            "tokens_per_second": tokens / seconds,
        },
        "memory": {"var_bytes": router.held_bytes() if router else 0, "peak_bytes": _peak_bytes(model)},
        "var_stats": router.performance_stats() if router else None,
        "samples": [
            {
                "sample_id": row["sample_id"],
                "loss": row["loss"],
                "loss_tokens": row["loss_tokens"],
                "bytes": row["bytes"],
                "correct": row["correct_norm"] if row["correct_norm"] is not None else row["correct"],
            }
            for row in scores.select(
                ["sample_id", "loss", "loss_tokens", "bytes", "correct", "correct_norm"]
            ).to_pylist()
        ],
    }


def summarised(kind: str, scores: pa.Table) -> dict[str, Any]:
    """Loss, perplexity, bits per byte and accuracy of a table of scores, by the definitions of the metrics."""
    loss, tokens = np.sum(scores["loss"].to_numpy()), int(np.sum(scores["loss_tokens"].to_numpy()))
    is_text = kind == "perplexity"
    right = None if is_text else scores["correct_norm" if kind == "choice" else "correct"].to_pylist()
    return {
        "loss": float(loss / tokens),
        "perplexity": math.exp(loss / tokens),
        "total_tokens": tokens,
        "bits_per_byte": float(loss / math.log(2) / np.sum(scores["bytes"].to_numpy())) if is_text else None,
        "accuracy": None if right is None else float(np.mean(right)),
    }


def _peak_bytes(model: Any) -> int:
    if model.device.type == "cuda":
        return torch.cuda.max_memory_allocated(model.device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def identified(
    found: dict[str, Any],
    name: str,
    model: str,
    dataset: str,
    seed: int,
    rule: VARRouter | None,
    provenance: Any,
) -> dict[str, Any]:
    """A result JSON: what was evaluated, with what `evaluate` found."""
    return {
        "mode": "baseline" if rule is None else "var",
        "name": name,
        "model_name": model,
        "dataset_name": dataset,
        "seed": seed,
        "var_config": None if rule is None else rule.config.as_json(),
        **found,
        "provenance": provenance,
    }


def cache_simulation(
    model: torch.nn.Module, tokenizer: Any, rule: VARRouter, *given: Any, **settings: Any
) -> dict[str, int]:
    """Look-ups of all layers, and hits of a cache that is written after each forward, as VAR's, and after each token.

    The evaluation is run once more to record what each layer is shown; arguments are those of `evaluate`.
    """
    recorder = Recorder()
    evaluate(model, tokenizer, rule, *given, observer=recorder.observe, **settings)
    found = [simulate(one, rule.config, rule.tokens_per_second) for one in recorder.streams().values()]
    return dict(zip(Simulation._fields, map(sum, zip(*found, strict=True)), strict=True))
