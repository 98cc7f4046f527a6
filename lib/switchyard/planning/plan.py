"""The plan of a study: what its stages cost, what that rests on, what is unknown, and what does not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from switchyard.planning.amounts import model_of
from switchyard.planning.costs import RULES
from switchyard.planning.dag import Dag
from switchyard.planning.estimate import UNKNOWN, Estimate, Row, estimate, stages
from switchyard.planning.footprint import CONTEXT_GB, is_cached, parameters
from switchyard.planning.machine import Machine
from switchyard.planning.remedies import Shortage, shortages
from switchyard.planning.throughput import Throughput
from switchyard.planning.workload import REPEATED_SAMPLES, Workload

_COLUMNS = ("stage", "jobs", "tokens", "loads", "work", "wall", "memory GB", "card GB", "disk GB")


@dataclass(frozen=True)
class Plan:
    """Rows by stage with the total last; lines of prose; `shortages` is empty where everything fits."""

    study: str
    machine: Machine
    rows: list[Row]
    basis: list[str]
    unknown: list[str]
    shortages: list[Shortage]

    @property
    def fits(self) -> bool:
        """Whether nothing that is known falls short."""
        return not self.shortages

    def as_json(self) -> dict[str, Any]:
        """Everything that `text` prints, and the changes that would make it fit."""
        return {
            "study": self.study,
            "fits": self.fits,
            "machine": asdict(self.machine),
            "stages": [asdict(row) for row in self.rows],
            "basis": self.basis,
            "unknown": self.unknown,
            "shortages": [{**one._asdict(), "line": one.line} for one in self.shortages],
        }

    def text(self) -> str:
        """The plan for a terminal."""
        machine, total = self.machine, self.rows[-1]
        if not total.jobs:
            return f"Study {self.study}: nothing to be done, all results are up to date.\n"
        cards = f"{machine.cards} x {machine.gpu_mem_gb:g} GB of card" if machine.cards else "no card"
        head = (
            f"Study {self.study}: {total.jobs} jobs on {machine.cores} cores, {machine.mem_gb:.0f} GB of memory, "
            f"{cards}, {machine.free_gb:.0f} GB of free disk"
        )
        parts = [head, "", *_aligned([_COLUMNS, *(_cells(row) for row in self.rows)]), "", "Estimates, from"]
        parts += [f"- {line}" for line in self.basis]
        if self.unknown:
            parts += ["", "Unknown (?), and in no sum"] + [f"- {line}" for line in self.unknown]
        parts += ["", "Does not fit" if self.shortages else "Everything that is known fits."]
        parts += [f"- {one.line}" for one in self.shortages]
        return "\n".join(parts) + "\n"


def make(dag: Dag, work: Workload, throughput: Throughput | None, machine: Machine) -> Plan:
    """The plan for the jobs of a dry run."""
    found = [estimate(job, work, throughput, machine) for job in dag.jobs]
    rows = stages(dag, found, machine)
    return Plan(
        study=work.config["study"],
        machine=machine,
        rows=rows,
        basis=list(_basis(found, rows[-1], work, throughput, machine)),
        unknown=list(_unknown(dag, found, work)),
        shortages=shortages(dag.jobs, work, machine),
    )


def _basis(
    found: Sequence[Estimate], total: Row, work: Workload, throughput: Throughput | None, machine: Machine
) -> Iterator[str]:
    if throughput:
        yield f"throughput: {throughput.basis}; other numbers of experts by their arithmetic"
    if total.tokens:
        counted = (
            "counted"
            if total.exact
            else "counted where texts are prepared, elsewhere (<=) samples x max_length"
        )
        yield f"tokens: {counted}; the first {REPEATED_SAMPLES} samples of a dataset twice"
    if any(one.rule in RULES and RULES[one.rule].routed for one in found):
        yield (
            "experts: rules that adapt are taken for the trained number or their max_k, whichever is less; memory is "
            "reckoned with the largest max_k of the study"
        )
    if total.loads_to:
        yield (
            f"loads: the fewest if each experiment finds the model of one before it in memory, the most if every job "
            f"reads it, at {machine.read_gb_per_second:g} GB/s; hours hold the fewest"
        )
    measured = sum(one.measured for one in found)
    plain = sum(not RULES[one.rule].forwards for one in found if one.rule in RULES)
    if plain:
        yield (
            f"other seconds: {measured} of {plain} jobs without a model as an earlier run measured them, the rest as "
            "the default study took"
        )
    yield "work: one job after the other; wall: the least that chains of jobs, cores, memory and cards allow"
    if machine.cards:
        yield f"card GB: weights, activations of a full batch, and {CONTEXT_GB:g} GB for the driver"
    for name in sorted(work.config["models"]):
        if known := work.structure(name):
            place = _place(work.config["models"][name], machine)
            yield f"model {name}: {parameters(known):,} weights in {work.dtype(name)}{place}"


def _place(entry: Mapping[str, Any], machine: Machine) -> str:
    """Where the weights of a model of the hub are, or will be."""
    if entry["source"] != "hub":
        return ""
    if is_cached(entry):
        return ", in the hub's cache already"
    disk = (
        "the same disk"
        if machine.cache_gb is None
        else f"a disk of its own with {machine.cache_gb:.0f} GB free"
    )
    return f", fetched into the hub's cache, on {disk}"


def _unknown(dag: Dag, found: Sequence[Estimate], work: Workload) -> Iterator[str]:
    rules = Counter(one.rule for one in found if one.stage == UNKNOWN)
    for rule, count in rules.items():
        yield f"rule {rule}: {count} jobs, of which the table of costs (lib/switchyard/planning/costs.py) says nothing"
    models = {model_of(work, job) for job in dag.jobs if job.rule in RULES and RULES[job.rule].forwards}
    for name in sorted(name for name in models if work.structure(name) is None):
        yield f"models.{name}: neither fetched nor described; fetch it, or state its `structure` in the study file"
    tokens = [one for one in found if one.stage != UNKNOWN and one.tokens is None]
    if tokens:
        yield f"tokens of {len(tokens)} jobs of stage observe: set observation.tokens, or prepare the text first"
    sizes = Counter(one.rule for one in found if one.rule == "prepare_corpus" and one.disk_bytes is None)
    if sizes:
        yield "size of a corpus: set its num_samples"


def _cells(row: Row) -> tuple[str, ...]:
    at_most = "" if row.exact else "<= "
    loads = str(row.loads_to) if row.loads_from == row.loads_to else f"{row.loads_from} to {row.loads_to}"
    return (
        row.stage,
        str(row.jobs),
        _or_unknown(f"{at_most}{row.tokens:,}" if row.tokens else "0", row.unknown_tokens, row),
        loads,
        _or_unknown(_hours(row.work_hours), row.unknown_hours, row),
        _or_unknown(_hours(row.wall_hours), row.unknown_hours, row),
        f"{row.mem_gb:.1f}",
        str(row.gpu_mem_gb or "-"),
        _or_unknown(f"{row.disk_gb:.2f}", row.unknown_disk, row),
    )


def _or_unknown(text: str, unknown: int, row: Row) -> str:
    """The sum of what is known, marked where something is not; a mark alone where nothing is."""
    if not unknown:
        return text
    return "?" if unknown == row.jobs else f"{text} + ?"


def _hours(hours: float) -> str:
    if hours < 2:
        return f"{60 * hours:.1f} min"
    return f"{hours:,.1f} h" if hours < 100 else f"{hours:,.0f} h"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns, the first to the left and numbers to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
        for row in rows
    ]
