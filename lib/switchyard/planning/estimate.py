"""What each job of a dry run costs, and the sums by stage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from switchyard.artifacts.fingerprints import NAMED_BY_STRING
from switchyard.planning.jobs import ROOT, Job, longest
from switchyard.planning.machine import Machine
from switchyard.planning.workload import Tokens, Workload


@dataclass(frozen=True)
class Estimate:
    """What one job costs; None is unknown. Memory that a rule does not declare is 0."""

    job: Job
    stage: str
    model: str | None
    tokens: Tokens | None
    seconds: float | None
    mem_gb: float | None
    gpu_mem_gb: int | None
    disk_gb: float | None


@dataclass(frozen=True)
class Row:
    """A stage, or the whole study. `unknown` counts the jobs that are missing in a sum."""

    stage: str
    jobs: int
    tokens: int
    exact: bool
    loads_from: int
    loads_to: int
    work_hours: float
    wall_hours: float
    mem_gb: float
    gpu_mem_gb: int
    disk_gb: float
    unknown: dict[str, int]


def estimates(jobs: Sequence[Job], work: Workload, tokens_per_second: float | None) -> list[Estimate]:
    """The cost of each job.

    `tokens_per_second` is the rate of one job with the model's own routing; without it the seconds of a job are the
    mean of its rule's benchmark files of earlier runs.
    """
    stages = _stages()
    measured = {
        rule: measured_seconds(work.directory / work.results / "job-logs", rule)
        for rule in {job.rule for job in jobs}
    }
    return [_estimate(job, work, stages[job.rule], measured[job.rule], tokens_per_second) for job in jobs]


def rows(found: Sequence[Estimate], machine: Machine) -> list[Row]:
    """A row for every stage with jobs, in order, and `total` last."""
    stages = {stage: [one for one in found if one.stage == stage] for stage in _stages().values()}
    stages = {stage: mine for stage, mine in stages.items() if mine} | {"total": found}
    return [_row(stage, mine, machine) for stage, mine in stages.items()]


def measured_seconds(logs: Path, rule: str) -> float | None:
    """Mean seconds of a rule's jobs in earlier runs, from their benchmark files; None where there is none."""
    seconds = []
    for file in [*logs.glob(f"{rule}.tsv"), *logs.glob(f"{rule}/*.tsv")]:
        try:
            names, values = file.read_text("utf-8").splitlines()[:2]
            seconds.append(float(dict(zip(names.split("\t"), values.split("\t")))["s"]))
        except (ValueError, KeyError):
            continue  # a job that was killed leaves an incomplete file
    return sum(seconds) / len(seconds) if seconds else None


def _stages() -> dict[str, str]:
    """Rule -> stage, which is the file in rules/ that holds it, in the order in which the Snakefile includes them."""
    files = re.findall(r'^include: "(rules/.+)"', (ROOT / "Snakefile").read_text("utf-8"), re.MULTILINE)
    named = re.compile(r"^(?:rule|checkpoint) (\w+):", re.MULTILINE)
    texts = {Path(file).stem: (ROOT / file).read_text("utf-8") for file in files}
    return {rule: stage for stage, text in texts.items() for rule in named.findall(text)}


def _estimate(job: Job, work: Workload, stage: str, measured: float | None, rate: float | None) -> Estimate:
    tokens, cost, model = work.tokens(job), work.relative_cost(job), work.model(job)
    stated = tokens.number * cost / rate if rate and tokens and cost else None
    memory = job.resources.get("mem_mb", 0) / 1000, job.resources.get("gpu_mem_gb", 0)
    if any(memory) and model and work.structure(model) is None:
        memory = None, None  # the rules declare a guess
    return Estimate(job, stage, model, tokens, stated or measured, *memory, work.disk_gb(job))


def _row(stage: str, mine: Sequence[Estimate], machine: Machine) -> Row:
    loading = [one for one in mine if one.job.runs_model]
    shared = [one.model for one in loading if one.job.rule in NAMED_BY_STRING]  # in workers
    return Row(
        stage=stage,
        jobs=len(mine),
        tokens=sum(one.tokens.number for one in mine if one.tokens),
        exact=all(one.tokens.exact for one in mine if one.tokens),
        loads_from=len(loading) - len(shared) + len(set(shared)),
        loads_to=len(loading),
        work_hours=sum(one.seconds or 0 for one in mine) / 3600,
        wall_hours=_wall_seconds(mine, machine) / 3600,
        mem_gb=max((one.mem_gb or 0 for one in mine), default=0),
        gpu_mem_gb=max((one.gpu_mem_gb or 0 for one in mine), default=0),
        disk_gb=sum(one.disk_gb or 0 for one in mine),
        unknown={
            name: sum(getattr(one, name) is None for one in mine)
            for name in ("tokens", "seconds", "mem_gb", "disk_gb")
        },
    )


def _wall_seconds(mine: Sequence[Estimate], machine: Machine) -> float:
    """The least that chains of jobs, cores and cards allow; jobs that share a card share its arithmetic."""
    jobs, seconds = [one.job for one in mine], [one.seconds or 0.0 for one in mine]
    cores = sum(each * min(job.threads / machine.cores, 1) for each, job in zip(seconds, jobs))
    cards = sum(each for each, job in zip(seconds, jobs) if machine.cards and job.runs_model)
    return max(longest(jobs, seconds), cores, cards / max(1, machine.cards))
