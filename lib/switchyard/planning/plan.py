"""The plan of a study: what its stages cost, what that rests on, what is unknown, and what does not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from switchyard.models.quantised_sizes import Quantise
from switchyard.planning.estimate import Estimate, Row, estimates, rows
from switchyard.planning.footprint import hosted_gb, parameters, weights_gb
from switchyard.planning.jobs import Job
from switchyard.planning.machine import Machine
from switchyard.planning.workload import REPEAT_SAMPLES, Workload

REMEDIES = {
    "host memory": "lower batch_tokens of `evaluation` and `observation`, or name fewer observation.layers",
    "a card": "lower batch_tokens of `evaluation` and `observation`, give the model a dtype of 16 bits, or "
    "quantise its experts",
    "disk": "set evaluation.keep_logits to false, or name a larger disk with --directory",
}
"""What to change where a limit is exceeded."""

_COLUMNS = ("stage", "jobs", "tokens", "loads", "work", "wall", "memory GB", "card GB", "disk GB")


@dataclass(frozen=True)
class Plan:
    """Rows by stage with the total last; lines of prose; `shortages` is empty where everything that is known fits."""

    study: str
    machine: Machine
    rows: list[Row]
    basis: list[str]
    unknown: list[str]
    shortages: list[str]

    def text(self) -> str:
        """The plan for a terminal."""
        machine, total = self.machine, self.rows[-1]
        if not total.jobs:
            return f"Study {self.study}: nothing to be done, all results are up to date."
        cards = f"{machine.cards} x {machine.gpu_mem_gb:g} GB of card" if machine.cards else "no card"
        lines = [
            f"Study {self.study}: {total.jobs} jobs on {machine.cores} cores, {machine.mem_gb:.0f} GB of memory, "
            f"{cards}, {machine.free_gb:.0f} GB of free disk"
        ]
        lines += ["", *_aligned([_COLUMNS, *(_cells(row) for row in self.rows)])]
        lines += ["", "Estimates, from", *(f"- {line}" for line in self.basis)]
        if self.unknown:
            lines += ["", "Unknown (?), and in no sum", *(f"- {line}" for line in self.unknown)]
        lines += ["", "Does not fit" if self.shortages else "Everything that is known fits."]
        return "\n".join([*lines, *(f"- {line}" for line in self.shortages)])


def make(jobs: Sequence[Job], work: Workload, machine: Machine, tokens_per_second: float | None) -> Plan:
    """The plan for the jobs of a dry run; `estimates` says what `tokens_per_second` is."""
    found = estimates(jobs, work, tokens_per_second)
    sums = rows(found, machine)
    return Plan(
        study=work.config["study"],
        machine=machine,
        rows=sums,
        basis=list(_basis(found, sums[-1], work, tokens_per_second)),
        unknown=list(_unknown(found, tokens_per_second)),
        shortages=list(_shortages(found, machine)),
    )


def _basis(found: Sequence[Estimate], total: Row, work: Workload, rate: float | None) -> Iterator[str]:
    if rate:
        yield f"time of jobs that run a model: {rate:,.0f} tokens/s of the trained routing in one job, as stated"
        yield "other routing: by its arithmetic; rules that adapt as the trained routing, or as their max_k if less"
    others = " of other jobs" if rate else ""
    yield f"time{others}: the mean of a rule's benchmark files of earlier runs in {work.results}/job-logs"
    yield "work: one job after the other; wall: the least that chains of jobs, cores and cards allow"
    elsewhere = "" if total.exact else " where text is prepared, elsewhere (<=) samples x max_length"
    yield f"tokens: counted{elsewhere}; an experiment reads the first {REPEAT_SAMPLES} samples twice"
    yield "disk: weights, traces, logs and observed counts; other files are small"
    for name in sorted({one.model for one in found if one.job.runs_model}):
        if known := work.structure(name):
            yield _weights(name, work.config["models"][name], known)


def _weights(name: str, entry: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """A model's weights and, where they are packed, what that leaves and what has to cross the bus."""
    dtype, packed = entry["dtype"], Quantise.of(entry.get("quantise"))
    line = f"model {name}: {parameters(known):,} weights in {dtype}"
    if packed:
        line += f", {packed}: {weights_gb(known, dtype):.1f} GB"
    if moved := hosted_gb(known, dtype):
        share = known["top_k"] / known["num_experts"]
        line += f"; {moved:.1f} GB cross the bus where a batch uses every expert, {moved * share:.1f} GB for one token"
    return line


def _unknown(found: Sequence[Estimate], rate: float | None) -> Iterator[str]:
    for name in sorted({one.model for one in found if None in (one.mem_gb, one.disk_gb)}):
        yield f"models.{name}: neither fetched nor described; fetch it, or state its `structure` in the study file"
    reasons = {
        "tokens": "they follow from no size that the study file states",
        "time": "no benchmark of an earlier run" + ("" if rate else "; give --tokens-per-second"),
    }
    for (name, reason), field in zip(reasons.items(), ("tokens", "seconds")):
        counts = Counter(one.job.rule for one in found if getattr(one, field) is None)
        rules = ", ".join(f"{rule} ({count})" for rule, count in sorted(counts.items()))
        if counts:
            yield f"{name} of {'all jobs' if counts.total() == len(found) else rules}: {reason}"


def _shortages(found: Sequence[Estimate], machine: Machine) -> Iterator[str]:
    """Each limit that is exceeded, with the job that asks for most: of equal ones the first by name."""
    memory = {" ".join([one.job.rule, *one.job.wildcards.values()]): one.mem_gb or 0 for one in found}
    several = {
        name: min(one.job.resources.get("gpu", 1) or 1, machine.cards) for name, one in zip(memory, found)
    }
    cards = (
        {name: (one.gpu_mem_gb or 0) / several[name] for name, one in zip(memory, found)}
        if machine.cards
        else {}
    )
    disk = {"the study's files": sum(one.disk_gb or 0 for one in found)}
    limits = (machine.mem_gb, machine.gpu_mem_gb, machine.free_gb)
    for place, needed, limit in zip(REMEDIES, (memory, cards, disk), limits):
        most = max(sorted(needed), key=needed.get, default=None)
        if most and needed[most] > limit:
            of_each = f" (each of {several[most]})" if place == "a card" and several[most] > 1 else ""
            yield f"{most}: {needed[most]:,.1f} GB of {place}{of_each}, {limit:,.1f} GB are there; {REMEDIES[place]}"


def _cells(row: Row) -> tuple[str, ...]:
    """The texts of a row: a sum is marked where something unknown is missing in it, a mark alone where all is."""

    def cell(text: str, amount: float, unknown: str) -> str:
        return text if not row.unknown[unknown] else f"{text} + ?" if amount else "?"

    loads = str(row.loads_to) if row.loads_from == row.loads_to else f"{row.loads_from} to {row.loads_to}"
    at_most = "" if row.exact else "<= "
    return (
        row.stage,
        str(row.jobs),
        cell(f"{at_most}{row.tokens:,}" if row.tokens else "-", row.tokens, "tokens"),
        loads,
        cell(_hours(row.work_hours), row.work_hours, "seconds"),
        cell(_hours(row.wall_hours), row.wall_hours, "seconds"),
        cell(f"{row.mem_gb:.1f}" if row.mem_gb else "-", row.mem_gb, "mem_gb"),
        cell(str(row.gpu_mem_gb or "-"), row.gpu_mem_gb, "mem_gb"),
        cell(f"{row.disk_gb:.2f}", row.disk_gb, "disk_gb"),
    )


def _hours(hours: float) -> str:
    return f"{60 * hours:.1f} min" if hours < 2 else f"{hours:,.1f} h"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Columns, the first to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*table)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
        for row in table
    ]
