"""An experiment: one model under one routing rule on one dataset, and its repeat."""

from __future__ import annotations

from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import torch

from switchyard.evaluation.likelihood import Labelled, Progress, score
from switchyard.evaluation.scores import score_table
from switchyard.evaluation.sequences import Sample, all_sequences, build_samples, padding_token
from switchyard.routing.attachment import attach
from switchyard.study.experiment import REPEAT_SAMPLES
from switchyard.text.kinds import kind_of


class TraceWriter(Protocol):
    """What is shown every token's routing; `traces.writer.TraceWriter` is one."""

    def observe(self, layer: int, logits: Any, selection: Any, context: Any) -> None:
        """Take one layer of a forward: `logits` [tokens, num_experts], selection and context of the same rows."""
        ...


def count_sequences(table: pa.Table, samples: int) -> int:
    """Most sequences of the first `samples` samples of a prepared dataset: one each, or one per option of a choice."""
    if "options" not in table.column_names:
        return samples
    return int(pc.sum(pc.list_value_length(table["options"].slice(0, samples))).as_py() or 0)


def run_experiment(
    model: torch.nn.Module,
    tokenizer: Any,
    rule: Any,
    dataset: pa.Table,
    *,
    max_length: int,
    samples: int | None,
    batch_tokens: int,
    trace_writer: TraceWriter | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """The scores table of an experiment; routing goes to the trace writer.

    Args:
        model: a Hugging Face MoE model in evaluation mode.
        tokenizer: its tokenizer.
        rule: a RoutingRule, or None for the model's own routing.
        dataset: a prepared table.
        max_length: most tokens fed in one sequence.
        samples: most samples; None for all.
        batch_tokens: most tokens of a batch, padding included.
        trace_writer: an observer of the routing, opened and closed by the caller.
        progress: called with the number of sequences done.

    Raises:
        InputError: samples without tokens, or numbers that are none.
    """
    chosen = build_samples(dataset, tokenizer, max_length=max_length, samples=samples)
    return _run(model, tokenizer, rule, kind_of(dataset), chosen, batch_tokens, trace_writer, progress)


def run_repeat(
    model: torch.nn.Module,
    tokenizer: Any,
    rule: Any,
    dataset: pa.Table,
    *,
    max_length: int,
    samples: int | None,
    repeat_samples: int = REPEAT_SAMPLES,
    trace_writer: TraceWriter | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """The first `repeat_samples` samples of an experiment again, one sequence at a time, in reversed order."""
    few = repeat_samples if samples is None else min(samples, repeat_samples)
    chosen = build_samples(dataset, tokenizer, max_length=max_length, samples=few)
    return _run(model, tokenizer, rule, kind_of(dataset), chosen[::-1], None, trace_writer, progress)


def _run(
    model: torch.nn.Module,
    tokenizer: Any,
    rule: Any,
    kind: str,
    samples: list[Sample],
    batch_tokens: int | None,
    trace_writer: TraceWriter | None,
    progress: Progress | None,
) -> pa.Table:
    observer = None if trace_writer is None else trace_writer.observe
    # one code path for all rules, so that they differ in routing and not in the rounding of another kernel
    with attach(model, rule, observer=observer, own_when_full=False) as attachment:
        return run_samples(model, tokenizer, attachment, kind, samples, batch_tokens, progress)


def run_samples(
    model: torch.nn.Module,
    tokenizer: Any,
    attachment: Labelled,
    kind: str,
    samples: list[Sample],
    batch_tokens: int | None,
    progress: Progress | None = None,
) -> pa.Table:
    """The scores table of samples under the rule that is attached; None as `batch_tokens` runs them one by one."""
    scores = score(
        model,
        all_sequences(samples),
        batch_tokens=batch_tokens,
        pad_id=padding_token(tokenizer),
        attachment=attachment,
        progress=progress,
    )
    return score_table(kind, samples, scores)
