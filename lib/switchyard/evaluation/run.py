"""One experiment from a loaded model to its five files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import torch

from switchyard.artifacts.files import write_table
from switchyard.evaluation.experiment import run_experiment, run_repeat
from switchyard.models.routers import selection_scores
from switchyard.study.experiment import Experiment
from switchyard.traces.internal_log import write_internal_log
from switchyard.traces.writer import TraceWriter


class Files(NamedTuple):
    """Where an experiment's results go."""

    trace: Path
    scores: Path
    trace_repeat: Path
    scores_repeat: Path
    log: Path


def write_experiment(
    model: torch.nn.Module,
    tokenizer: Any,
    experiment: Experiment,
    rule: Any,
    dataset: pa.Table,
    files: Files,
    *,
    head: dict[str, Any],
    progress: Callable[[int], object] | None = None,
) -> None:
    """Evaluate, repeat, and write traces, scores and the internal log, each atomically.

    Args:
        head: what the files say about themselves (`Experiment.head`, with `provenance`).
    """
    run = experiment.run
    shared = {"max_length": experiment.max_length, "samples": experiment.samples, "progress": progress}
    layout = {
        "num_experts": head["num_experts"],
        "num_layers": head["num_layers"],
        "keep_logits": run.keep_logits,
        "has_paths": getattr(rule, "has_paths", False),
        "scores": selection_scores(model),
    }
    with TraceWriter(files.trace, **layout, stamp=head) as trace:
        scores = run_experiment(
            model, tokenizer, rule, dataset, **shared, batch_tokens=run.batch_tokens, trace_writer=trace
        )
    write_table(files.scores, scores, head)
    with TraceWriter(files.trace_repeat, **layout, stamp=head) as trace:
        repeat = run_repeat(model, tokenizer, rule, dataset, **shared, trace_writer=trace)
    write_table(files.scores_repeat, repeat, head)
    write_internal_log(
        files.log,
        head=head,
        trace=files.trace,
        scores=scores,
        study_folder=files.trace.parents[3],
        min_k=head["min_k"],
        p_values=getattr(rule, "p_values", None),
        samples_spelled_out=run.spelled_out_samples,
    )
