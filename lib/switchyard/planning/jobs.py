"""The jobs that snakemake would run, from its dry run.

The dry run is a process of its own, which takes no lock and writes no result. In it this module listens to snakemake's
log events and prints a line of JSON for each job.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

from switchyard.errors import ERROR_LINE, InputError

ROOT = Path(__file__).resolve().parents[3]
"""The checkout: Snakefile, config.yaml and its schema."""


@dataclass(frozen=True)
class Job:
    """A job of the dry run. A job that runs a model has the resource `gpu`."""

    rule: str
    wildcards: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    resources: Mapping[str, int] = field(default_factory=dict)
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()

    @property
    def runs_model(self) -> bool:
        """Whether the job runs a model."""
        return "gpu" in self.resources


def dry_run(
    *, directory: Path, study: Path | None, cores: int, extra: Sequence[str] = (), everything: bool = False
) -> list[Job]:
    """The jobs that a run of the study would start now; with `everything` those of a run from nothing.

    Targets that only collect are left out.

    Raises:
        InputError: snakemake refuses the study.
    """
    command = [sys.executable, "-m", "switchyard.planning.jobs", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--dry-run", "--nolock", "--cores", str(cores), "--directory", str(directory)]
    command += ["--configfile", str(study)] if study else []
    command += ["--forceall"] if everything else []
    ran = subprocess.run([*command, *extra], capture_output=True, text=True)
    if ran.returncode:
        raise InputError(_reason(ran.stderr + ran.stdout))
    found = [Job(**json.loads(line)) for line in ran.stdout.splitlines() if line.startswith('{"rule"')]
    return [job for job in found if job.outputs]


def longest(jobs: Sequence[Job], seconds: Sequence[float]) -> float:
    """Seconds of the longest chain of jobs, each of which waits for those that make what it reads."""
    maker = {path: place for place, job in enumerate(jobs) for path in job.outputs}
    before = {place: {maker[path] for path in job.inputs if path in maker} for place, job in enumerate(jobs)}
    ends: dict[int, float] = {}
    for place in TopologicalSorter(before).static_order():
        ends[place] = seconds[place] + max((ends[one] for one in before[place]), default=0.0)
    return max(ends.values(), default=0.0)


def _reason(text: str) -> str:
    """The line that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it printed nothing"]
    own = [line.removeprefix(ERROR_LINE) for line in lines if line.startswith(ERROR_LINE)]
    return own[-1] if own else f"plan: snakemake's dry run failed: {lines[-1]}"


def _print_job(record: logging.LogRecord) -> bool:
    """Print a job as JSON; keep nothing in the log but warnings and errors."""
    if getattr(record, "event", None) == "job_info":
        counts = {name: value for name, value in record.resources.items() if isinstance(value, int)}
        job = Job(
            record.rule_name, record.wildcards, record.threads, counts, [*record.input], [*record.output]
        )
        print(json.dumps(vars(job)), flush=True)
    return record.levelno >= logging.WARNING


if __name__ == "__main__":
    from snakemake.cli import main

    logging.getLogger("snakemake.logging").addFilter(_print_job)
    main(sys.argv[1:])
