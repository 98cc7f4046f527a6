"""The jobs that snakemake would run, read from its dry run.

Snakemake is a program here, asked in a process of its own, which takes no lock and writes no result. What is read is
held against the statistics that it prints first, so that output of another form is refused, not counted short.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from switchyard.errors import ERROR_LINE, InputError

ROOT = Path(__file__).resolve().parents[3]
"""The checkout: Snakefile, config.yaml and its schema."""

_JOB = re.compile(r"^( *)(?:local)?(?:rule|checkpoint) (\w+):\n((?:\1 {4}\S.*\n?)*)", re.MULTILINE)
"""A job with its indented fields; the members of a group job are indented themselves."""

_FIELD = re.compile(r"^ +(\w+): (.*)$", re.MULTILINE)
_STATISTICS = re.compile(r"^Job stats:\n.*\n-.*\n((?:\S+ +\d+\n)+)", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """A job of the dry run: what it is of, and what it asks for."""

    rule: str
    wildcards: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    resources: Mapping[str, int] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    benchmark: str | None = None


@dataclass(frozen=True)
class Dag:
    """Jobs in an order in which they can run."""

    jobs: tuple[Job, ...]

    @cached_property
    def before(self) -> list[list[int]]:
        """Of each job, the places of those that make what it reads."""
        maker = {path: place for place, job in enumerate(self.jobs) for path in job.outputs}
        return [sorted({maker[path] for path in job.inputs if path in maker}) for job in self.jobs]

    def longest(self, seconds: Sequence[float]) -> float:
        """Seconds of the longest chain of jobs, each of which waits for the one before."""
        ends: dict[int, float] = {}
        for last in range(len(self.jobs)):
            waiting = [last]
            while waiting:  # a chain may be longer than Python's stack
                place = waiting[-1]
                missing = [one for one in self.before[place] if one not in ends]
                if missing:
                    waiting += missing
                    continue
                ends[place] = seconds[place] + max((ends[one] for one in self.before[place]), default=0.0)
                waiting.pop()
        return max(ends.values(), default=0.0)


def dry_run(
    *, directory: Path, study: Path | None, cores: int, extra: Sequence[str] = (), everything: bool = False
) -> Dag:
    """The jobs that a run of the study would start now; with `everything` those of a run from nothing.

    Raises:
        InputError: snakemake refuses the study, or prints what cannot be read.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--dry-run"]
    command += ["--nolock", "--cores", str(cores), "--directory", str(directory)]
    command += ["--configfile", str(study)] if study else []
    command += ["--forceall"] if everything else []
    ran = subprocess.run([*command, *extra], capture_output=True, text=True, cwd=directory)
    if ran.returncode:
        raise InputError(_reason(ran.stdout + ran.stderr))
    return parse(ran.stdout)


def parse(text: str) -> Dag:
    """Jobs of a dry run's output; targets that only collect, which make no file, are left out.

    Raises:
        InputError: other jobs are read than the output's own statistics count.
    """
    found = [_job(match[2], dict(_FIELD.findall(match[3]))) for match in _JOB.finditer(text)]
    told = _STATISTICS.search(text)
    counts = (
        {name: int(count) for name, count in (line.split() for line in told[1].splitlines())} if told else {}
    )
    counts.pop("total", None)
    for rule in sorted(counts.keys() | {job.rule for job in found}):
        read = sum(job.rule == rule for job in found)
        if read != counts.get(rule, 0):
            raise InputError(
                f"plan: {read} jobs of rule {rule} are read from snakemake's dry run, which counts "
                f"{counts.get(rule, 0)}; run it without options that change what it prints"
            )
    return Dag(tuple(job for job in found if job.outputs))


def _job(rule: str, fields: Mapping[str, str]) -> Job:
    resources = {name: int(value) for name, value in _pairs(fields.get("resources")) if value.isdecimal()}
    return Job(
        rule,
        dict(_pairs(fields.get("wildcards"))),
        int(fields.get("threads", 1)),
        resources,
        _list(fields.get("input")),
        _list(fields.get("output")),
        fields.get("benchmark"),
    )


def _pairs(text: str | None) -> list[tuple[str, str]]:
    """`a=1, b=2` as pairs; what is no pair is left out."""
    return [(name, value) for name, sign, value in (one.partition("=") for one in _list(text)) if sign]


def _list(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(", ")) if text else ()


def _reason(text: str) -> str:
    """The line that says what to mend."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line.removeprefix(ERROR_LINE) for line in lines if line.startswith(ERROR_LINE)]
    return (
        own[-1] if own else f"plan: snakemake's dry run failed: {lines[-1] if lines else 'it says nothing'}"
    )
