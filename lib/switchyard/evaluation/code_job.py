"""Programs written by one configuration, from files to files: what a job of rule generate_code does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import torch

from switchyard.artifacts.digests import digests
from switchyard.artifacts.files import read_json, read_table, write_text
from switchyard.artifacts.stamps import attach_to, stamp
from switchyard.evaluation.generation import Settings, generate
from switchyard.evaluation.job import load, written
from switchyard.models.load import check_length
from switchyard.models.routers import selection_scores
from switchyard.routing.attachment import attach
from switchyard.runtime.placement import hardware
from switchyard.runtime.progress import bar
from switchyard.study.experiment import Experiment
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
    it, folder = Experiment.from_json(experiment), Path(model)
    torch.set_num_threads(it.run.threads)
    check_length(folder, it.max_length)
    read = digests(reads)
    rule = it.build_rule(reads)
    head = it.head(rule, read_json(folder / "structure.json"))
    loaded = load(folder, it.dtype, gpu_mem_gb, written(folder))
    made = stamp(
        code=code,
        config={**it.as_json(), "code_batch_tokens": batch_tokens},
        inputs={"model": loaded.digest, "dataset": dataset, **read},
        model={"name": it.model, "dtype": it.dtype, "device": hardware()},
    )
    head["provenance"] = {**made, "experiment": it.as_json(), "rule": it.rule_as_run(rule)}
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
    rows = (
        {
            "task_id": names[one.sample_id],
            "sample": one.number,
            "completion": one.text,
            "temperature": settings.temperature if one.number else 0.0,
            "tokens": one.tokens,
            "ended": one.ended,
        }
        for one in found
    )
    write_text(samples, "".join(orjson.dumps(row).decode() + "\n" for row in rows))
    attach_to(samples, head)
