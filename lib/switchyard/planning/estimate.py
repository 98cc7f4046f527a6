"""From jobs to stages: hours, loads, memory and disk, from what `costs.RULES` says of each job."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from switchyard.planning import footprint
from switchyard.planning.amounts import Forwards, Part, model_of
from switchyard.planning.costs import RULES, STAGES, Rule
from switchyard.planning.dag import Dag, Job
from switchyard.planning.machine import Machine
from switchyard.planning.throughput import Throughput, flop_per_token
from switchyard.planning.workload import Workload

UNKNOWN = "?"
"""Stage of rules that the table of costs does not hold."""

PLAIN_MEM_MB = 1000
"""Host memory of a job without a model whose rule declares none; the largest that was measured took 880 MB."""


@dataclass(frozen=True)
class Estimate:
    """What one job costs; None is what nothing tells."""

    rule: str
    stage: str
    seconds: float | None
    tokens: int | None
    exact: bool
    disk_bytes: float | None
    mem_mb: int
    gpu_mem_gb: int
    threads: int
    loads: int
    shared: bool
    measured: bool
    """Whether the seconds are an earlier run's own."""


@dataclass(frozen=True)
class Row:
    """A stage, or the whole study. Unknown amounts are left out of sums and counted by the fields `unknown_`."""

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
    unknown_tokens: int
    unknown_hours: int
    unknown_disk: int


def estimate(job: Job, work: Workload, throughput: Throughput | None, machine: Machine) -> Estimate:
    """The cost of a job."""
    rule = RULES.get(job.rule)
    if rule is None:
        told = job.resources.get("mem_mb", PLAIN_MEM_MB), job.resources.get("gpu_mem_gb", 0)
        return Estimate(job.rule, UNKNOWN, None, None, False, None, *told, job.threads, 0, False, False)
    fed = rule.forwards(work, job) if rule.forwards else None
    earlier = None if fed else _benchmark(job, work)
    seconds = earlier if earlier is not None else _seconds(job, rule, fed, work, throughput, machine)
    mem_mb, gpu_mem_gb = memory(job, rule, work)
    return Estimate(
        job.rule,
        rule.stage,
        seconds,
        _tokens(fed),
        fed is None or fed.exact,
        rule.disk(work, job),
        mem_mb,
        gpu_mem_gb,
        job.threads,
        fed.loads if fed else 0,
        bool(fed and fed.shared),
        earlier is not None,
    )


def memory(job: Job, rule: Rule, work: Workload) -> tuple[int, int]:
    """MB of the host and GB of a card: what the rule declares, else what is reckoned."""
    host, card = reckoned(job, rule, work)
    return job.resources.get("mem_mb", host), job.resources.get("gpu_mem_gb", card)


def reckoned(job: Job, rule: Rule, work: Workload) -> tuple[int, int]:
    """What the rules (`rules/common.smk`) declare of memory, without what snakemake takes around a job.

    The model's part follows from its structure, batch and experts; dense counts follow from the observed layers.
    """
    model = model_of(work, job)
    known = work.structure(model)
    counted = rule.counts * footprint.observation_gb(known, layers=work.observed_layers) if known else 0
    host, card = PLAIN_MEM_MB, 0
    if rule.forwards:
        asked = known, work.dtype(model), batch_tokens(rule, work)
        slots = work.slots() if rule.routed else known and known["top_k"]
        host, card = footprint.mem_mb(*asked, slots=slots), footprint.gpu_mem_gb(*asked, slots=slots)
    return host + int(1000 * counted), card


def batch_tokens(rule: Rule, work: Workload) -> int:
    """Most tokens of a batch of the rule's jobs; those of training where no field bounds them."""
    if rule.batch is None:
        return 4096
    section, field = rule.batch.split(".")
    return work.config[section][field]


def stages(dag: Dag, found: Sequence[Estimate], machine: Machine) -> list[Row]:
    """A row for every stage with jobs, in order, and `total` last."""
    names = [name for name in (*STAGES, UNKNOWN) if any(one.stage == name for one in found)]
    rows = [_row(name, dag, found, [one.stage == name for one in found], machine) for name in names]
    return [*rows, _row("total", dag, found, [True] * len(found), machine)]


def _row(name: str, dag: Dag, found: Sequence[Estimate], chosen: Sequence[bool], machine: Machine) -> Row:
    mine = [one for one, taken in zip(found, chosen, strict=True) if taken]
    seconds = [(one.seconds or 0.0) * taken for one, taken in zip(found, chosen, strict=True)]
    wall = max(dag.longest(seconds), *(_area(mine, machine)))
    return Row(
        stage=name,
        jobs=len(mine),
        tokens=sum(one.tokens or 0 for one in mine),
        exact=all(one.exact for one in mine),
        loads_from=fewest_loads(mine, machine),
        loads_to=sum(one.loads for one in mine),
        work_hours=sum(seconds) / 3600,
        wall_hours=wall / 3600,
        mem_gb=max((one.mem_mb for one in mine), default=0) / 1000,
        gpu_mem_gb=max((one.gpu_mem_gb for one in mine), default=0),
        disk_gb=sum(one.disk_bytes or 0 for one in mine) / footprint.GB,
        unknown_tokens=sum(one.tokens is None for one in mine),
        unknown_hours=sum(one.seconds is None for one in mine),
        unknown_disk=sum(one.disk_bytes is None for one in mine),
    )


def _area(mine: Iterable[Estimate], machine: Machine) -> list[float]:
    """Seconds that the jobs fill of each thing that they share: cores, host memory, cards."""
    cores = memory_s = cards = 0.0
    for one in mine:
        seconds = one.seconds or 0.0
        cores += seconds * min(one.threads, machine.cores) / machine.cores
        memory_s += seconds * min(1.0, one.mem_mb / 1000 / machine.mem_gb)
        if machine.cards and one.gpu_mem_gb:
            cards += seconds / machine.cards  # jobs that are packed on a card share its arithmetic
    return [cores, memory_s, cards]


def fewest_loads(mine: Sequence[Estimate], machine: Machine) -> int:
    """Loads when jobs that share a model find it in memory, once for each that runs at the same time."""
    shared = [one for one in mine if one.shared]
    alone = sum(one.loads for one in mine if not one.shared)
    if not shared:
        return alone
    return alone + min(
        len(shared), max(machine.slots(one.threads, one.mem_mb, one.gpu_mem_gb) for one in shared)
    )


def _tokens(fed: Forwards | None) -> int | None:
    if fed is None:
        return 0
    return None if fed.parts is None else sum(part.tokens for part in fed.parts)


def _seconds(
    job: Job,
    rule: Rule,
    fed: Forwards | None,
    work: Workload,
    throughput: Throughput | None,
    machine: Machine,
) -> float | None:
    beside = rule.seconds(work, job)
    if fed is None or beside is None:
        return beside
    known = work.structure(fed.model)
    if known is None or throughput is None or fed.parts is None:
        return None
    loads = 0 if fed.shared else fed.loads * footprint.weights_gb(known, work.dtype(fed.model))
    forwards = sum(_part_seconds(part, known, throughput) for part in fed.parts)
    return beside + loads / machine.read_gb_per_second + forwards


def _part_seconds(part: Part, known: dict[str, Any], throughput: Throughput) -> float:
    if part.config in throughput.rates:
        return part.weight * part.tokens / throughput.rates[part.config]
    return throughput.seconds(part.weight * part.tokens * flop_per_token(known, part.experts))


def _benchmark(job: Job, work: Workload) -> float | None:
    """Seconds of this very job in an earlier run, from its benchmark file."""
    if job.benchmark is None:
        return None
    try:
        lines = Path(work.directory, job.benchmark).read_text(encoding="utf-8").splitlines()
        seconds = float(dict(zip(lines[0].split("\t"), lines[1].split("\t")))["s"])
    except (OSError, ValueError, IndexError, KeyError):
        return None
    return seconds if math.isfinite(seconds) else None


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as JSON holds them."""
    return [asdict(row) for row in rows]
