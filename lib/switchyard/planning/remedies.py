"""What does not fit, and which value of the configuration to lower so that it does.

Every value that is suggested has been put into the configuration and reckoned again: with it the thing fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

from switchyard.planning import footprint
from switchyard.planning.amounts import downloaded_gb, model_of
from switchyard.planning.costs import RULES
from switchyard.planning.dag import Job
from switchyard.planning.estimate import PLAIN_MEM_MB, batch_tokens, memory, reckoned
from switchyard.planning.machine import Machine
from switchyard.planning.workload import Workload

FEW_SAMPLES = 20
"""Samples that internal logs spell out when disk is short, as the control sets do."""

Changes = dict[str, Any]


class Shortage(NamedTuple):
    """Something asked for beyond a limit, GB; `changes` are fields of the configuration with values that fit."""

    what: str
    needed: float
    limit: float
    place: str
    changes: Changes
    remedy: str

    @property
    def line(self) -> str:
        """The shortage in one line."""
        return (
            f"{self.what}: {self.needed:,.1f} GB of {self.place}, {self.limit:,.1f} are there; {self.remedy}"
        )


def shortages(jobs: Sequence[Job], work: Workload, machine: Machine) -> list[Shortage]:
    """Everything that does not fit: memory by the field that bounds it, then disk."""
    fields: dict[str | None, list[Job]] = {}
    for job in jobs:
        rule = RULES.get(job.rule)
        fields.setdefault(rule.batch if rule else None, []).append(job)
    found = [one for field, some in fields.items() for one in _memory(field, some, work, machine)]
    return [*found, *_disk(jobs, work, machine)]


def changed(work: Workload, changes: Mapping[str, Any]) -> Workload:
    """The same study with other values in some fields, which are named by dots."""
    config = deepcopy(dict(work.config))
    for path, value in changes.items():
        *above, last = path.split(".")
        place = config
        for name in above:
            place = place[name]
        place[last] = value
    return Workload(config, work.directory)


# --- memory


def _memory(field: str | None, jobs: Sequence[Job], work: Workload, machine: Machine) -> Iterator[Shortage]:
    """The largest of the jobs whose batches a field bounds, against the host and against a card."""
    kinds = [(0, machine.mem_gb, "host memory")]
    kinds += [(1, machine.gpu_mem_gb, "a card")] if machine.cards else []
    remedy = None
    for place, limit, name in kinds:
        # Snakemake lists jobs in another order each time: of equal ones the first by name.
        by_name = sorted(jobs, key=lambda one: (one.rule, sorted(one.wildcards.values())))
        job = max(by_name, key=lambda one: needed(one, work, work)[place])
        amount = needed(job, work, work)[place]
        if amount <= limit:
            continue
        remedy = remedy or _smaller(field, jobs, work, machine)
        shown = " ".join([job.rule, *job.wildcards.values()])
        if field and job.rule in RULES:
            shown = f"{field}: {batch_tokens(RULES[job.rule], work)} ({shown})"
        yield Shortage(shown, amount, limit, name, *(remedy or ({}, _larger(field, jobs, work, place, name))))


def needed(job: Job, now: Workload, then: Workload) -> tuple[float, float]:
    """GB of the host and of a card that a job asks for when the study `now` becomes `then`."""
    rule = RULES.get(job.rule)
    if rule is None:
        return job.resources.get("mem_mb", PLAIN_MEM_MB) / 1000, float(job.resources.get("gpu_mem_gb", 0))
    (host, card), before, after = memory(job, rule, now), reckoned(job, rule, now), reckoned(job, rule, then)
    return (host + after[0] - before[0]) / 1000, float(card + after[1] - before[1])


def _smaller(
    field: str | None, jobs: Sequence[Job], work: Workload, machine: Machine
) -> tuple[Changes, str] | None:
    """The least change with which all these jobs fit host and card; None where no field that is known helps."""

    def fit(changes: Changes) -> bool:
        then = changed(work, changes)
        sizes = [needed(job, work, then) for job in jobs]
        return all(host <= machine.mem_gb for host, _ in sizes) and (
            not machine.cards or all(card <= machine.gpu_mem_gb for _, card in sizes)
        )

    if field is None:
        return _fewer_layers(jobs, work, fit)
    models = sorted({model_of(work, job) for job in jobs})
    unknown = [name for name in models if work.structure(name) is None]
    if unknown:
        return (
            {},
            f"models.{unknown[0]} is not here yet; state its structure, nothing smaller can be reckoned",
        )
    batches = list(_halves(RULES[jobs[0].rule], field, work))
    for size in batches:
        if fit({field: size}):
            return {field: size}, f"lower {field} to {size}"
    halved = {f"models.{name}.dtype": "bfloat16" for name in models if work.dtype(name) == "float32"}
    for size in [None, *batches] if halved else []:
        changes = {**halved, **({} if size is None else {field: size})}
        if fit(changes):
            return changes, "set " + " and ".join(f"{name} to {value}" for name, value in changes.items())
    return _fewer_layers(jobs, work, fit, {field: batches[-1]} if batches else {})


def _halves(rule: Any, field: str, work: Workload) -> Iterator[int]:
    """Smaller batches, largest first: powers of two down to the longest sequence, which is never cut."""
    section = field.split(".")[0]
    longest = {
        "evaluation": max(text["max_length"] for text in work.texts.values()),
        "observation": work.config["observation"]["max_length"],
        "speed": 64,
    }[section]
    size = 1 << (batch_tokens(rule, work) - 1).bit_length() >> 1
    while size >= longest:
        yield size
        size //= 2


def _fewer_layers(
    jobs: Sequence[Job], work: Workload, fit: Callable[[Changes], bool], also: Changes | None = None
) -> tuple[Changes, str] | None:
    """Observe some layers only, evenly spread: their dense counts are what does not fit."""
    counting = [job for job in jobs if job.rule in RULES and RULES[job.rule].counts]
    known = [structure for job in counting if (structure := work.structure(model_of(work, job)))]
    if not known:
        return None
    whole = work.observed_layers or max(structure["num_layers"] for structure in known)
    for number in range(whole - 1, 0, -1):
        chosen = [place * whole // number for place in range(number)]
        changes = {**(also or {}), "observation.layers": chosen}
        if fit(changes):
            return changes, "set " + " and ".join(f"{name} to {value}" for name, value in changes.items())
    return None


def _larger(field: str | None, jobs: Sequence[Job], work: Workload, place: int, name: str) -> str:
    """What it takes at least, when no value makes it fit."""
    smallest = list(_halves(RULES[jobs[0].rule], field, work))[-1:] if field else []
    then = changed(work, {field: smallest[0]}) if smallest else work
    least = max(needed(job, work, then)[place] for job in jobs)
    even = f", even with {field} at {smallest[0]}" if smallest else ""
    return f"no value of the study mends it{even}: it takes {math.ceil(least)} GB of {name}"


def _gb(amount: float) -> str:
    return f"{amount:,.{1 if amount >= 10 else 2}f} GB"


# --- disk


def _disk(jobs: Sequence[Job], work: Workload, machine: Machine) -> Iterator[Shortage]:
    """All that will be written against the free space; the hub's cache against its own, if it has a disk of its own."""
    cached, room = downloaded_gb(work, jobs), machine.cache_gb
    if room is None:
        cached = 0.0
    elif cached > room:
        remedy = f"free {_gb(cached - room)}, or name another folder with HF_HOME"
        yield Shortage("models of the hub", cached, room, "the disk of the hub's cache", {}, remedy)

    def written(changes: Changes) -> float:
        then = changed(work, changes)
        sizes = [RULES[job.rule].disk(then, job) for job in jobs if job.rule in RULES]
        return sum(size or 0.0 for size in sizes) / footprint.GB - cached

    whole = written({})
    if whole <= machine.free_gb:
        return
    said: list[str] = []
    changes: Changes = {}
    for more in (_shorter_logs(work), _without_logits(work)):
        saved = written(changes) - written({**changes, **more})
        if more and saved > 0:
            changes |= more
            said.append(
                f"{', '.join(f'{name}: {_shown(value)}' for name, value in more.items())} saves {_gb(saved)}"
            )
        if written(changes) <= machine.free_gb:
            break
    samples = _fewer_samples(work, changes, written, machine.free_gb)
    if samples:
        said.append("lower " + ", ".join(f"{name} to {number}" for name, number in samples.items()))
        changes |= samples
    if (left := written(changes) - machine.free_gb) > 0:
        even = "even so " if said else ""
        said.append(f"{even}{_gb(left)} are short: free them, or name another --directory")
    yield Shortage("the study's files", whole, machine.free_gb, "disk", changes, "; ".join(said))


def _shorter_logs(work: Workload) -> Changes:
    """Spell out a few samples only in internal logs, wherever more are."""
    return _everywhere(
        work, "spelled_out_samples", FEW_SAMPLES, lambda value: value is None or value > FEW_SAMPLES
    )


def _without_logits(work: Workload) -> Changes:
    return _everywhere(work, "keep_logits", False, bool)


def _everywhere(work: Workload, setting: str, value: Any, is_larger: Callable[[Any], bool]) -> Changes:
    """The setting of `evaluation`, and of each set that says otherwise for itself."""
    sets = {one.set_name for one in work.configurations.values() if is_larger(one.run.get(setting, value))}
    own = {f"rules.{name}.{setting}": value for name in sorted(sets)}
    shared = {f"evaluation.{setting}": value} if is_larger(work.config["evaluation"][setting]) else {}
    return {**shared, **own}


def _fewer_samples(
    work: Workload, changes: Changes, written: Callable[[Changes], float], free_gb: float
) -> Changes:
    """Samples of all datasets, halved until what is written fits, down to those that are repeated.

    Nothing where all fits already, or nothing would make it fit.
    """
    samples = {
        f"datasets.{name}.samples": entry["samples"] for name, entry in work.config["datasets"].items()
    }
    smaller: Changes = {}
    while written({**changes, **smaller}) > free_gb:
        if max(samples.values()) <= FEW_SAMPLES:
            return {}
        samples = {name: max(min(FEW_SAMPLES, number), number // 2) for name, number in samples.items()}
        smaller = samples
    return smaller


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
