"""Programs written by one configuration, from files to files: what a job of rule generate_code does."""

from __future__ import annotations

from typing import Any

import orjson

from switchyard.artifacts.files import read_table, write_text
from switchyard.artifacts.stamps import attach_to
from switchyard.evaluation.generation import Completion, Settings, generate
from switchyard.evaluation.job import prepare
from switchyard.models.routers import selection_scores
from switchyard.routing.attachment import attach
from switchyard.runtime.progress import bar
from switchyard.traces.writer import TraceWriter

GROUP_ROWS = 65_536
"""Rows of a row group of the trace."""


def write_programs(
    *,
    experiment: dict[str, Any],
    model: str,
    dataset: str,
    reads: dict[str, Any],
    samples: str,
    trace: str,
    batch_tokens: int,
    gpu_mem_gb: int,
    code: str,
) -> None:
    """Write the completions of a set of problems, a row each, and the trace of their routing.

    A row has `task_id, sample, completion, temperature, tokens, ended`. Arguments are what JSON can hold; those not
    named are as in `job.evaluate`.

    Args:
        samples: JSON Lines to write; the run stamp stands beside it.
        trace: Parquet file to write; sequence `n` of a sample is completion `n` of its problem, prompt and all.
        batch_tokens: most tokens of a batch, prompts and completions.

    Raises:
        InputError: the rule, the model or the problems cannot be used.
    """
    it, rule, loaded, head = prepare(
        experiment,
        model=model,
        dataset=dataset,
        reads=reads,
        gpu_mem_gb=gpu_mem_gb,
        code=code,
        settings={"code_batch_tokens": batch_tokens},
    )
    problems = read_table(dataset).to_pylist()
    settings = Settings(**{name: it.dataset_entry[name] for name in Settings._fields})
    stop = it.dataset_entry["stop"]
    asked = [one if stop is None else {**one, "stop": stop} for one in problems]
    total = len(problems) * (1 + settings.samples_per_problem)
    writer = TraceWriter(
        trace,
        num_experts=head["num_experts"],
        num_layers=head["num_layers"],
        keep_logits=it.run.keep_logits,
        has_paths=getattr(rule, "has_paths", False),
        scores=selection_scores(loaded.model),
        stamp=head,
        group_rows=GROUP_ROWS,
    )
    with (
        bar(total, f"{it.config} {it.dataset}", unit="completions") as progress,
        writer,
        attach(loaded.model, rule, observer=writer.observe, own_when_full=False) as attachment,
    ):
        found = generate(
            loaded.model,
            loaded.tokenizer,
            attachment,
            asked,
            settings,
            max_length=it.max_length,
            batch_tokens=batch_tokens,
            progress=progress.update,
        )
    names = {one["sample_id"]: one["task_id"] for one in problems}
    rows = (_row(names[one.sample_id], one, settings) for one in found)
    write_text(samples, "".join(orjson.dumps(row).decode() + "\n" for row in rows))
    attach_to(samples, head)


def _row(task_id: str, one: Completion, settings: Settings) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "sample": one.number,
        "completion": one.text,
        "temperature": settings.temperature if one.number else 0.0,
        "tokens": one.tokens,
        "ended": one.ended,
    }
