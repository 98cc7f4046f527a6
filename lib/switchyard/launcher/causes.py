"""Why jobs failed: one line for each cause, from the jobs' own logs and from what their cluster says."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from switchyard.artifacts import shortages
from switchyard.errors import ERROR_LINE
from switchyard.runtime.workers import KILLED

FULL_BYTES = 1 << 20
"""A disk with less room than this is the reason why a run failed."""

CLUSTER = "slurmstepd"
"""How a line of the cluster's own begins in its log of a job."""

ENDED = re.compile(r"died with <Signals\.(\w+): |non-zero exit status (1[2-9]\d)\b")
MEMORY_LIMIT = re.compile(r"OUT_OF_MEMORY|oom.kill|memory limit", re.IGNORECASE)
TIME_LIMIT = re.compile(r"'TIMEOUT'|DUE TO TIME LIMIT")


class Failure(NamedTuple):
    """A job that failed."""

    rule: str
    logs: tuple[str, ...]  # its own; older than `begun_s` if an earlier attempt wrote them
    cluster_logs: tuple[str, ...] = ()
    begun_s: float = 0.0  # since the epoch
    message: str = ""  # of its executor
    exception: str = ""  # of snakemake, about how its command ended
    group: str = ""  # of jobs that share a job of the cluster


def summary(failures: Sequence[Failure]) -> list[str]:
    """The lines that a failed run ends with: one for each cause, and one for a full disk."""
    explained = {each.group for each in failures if _own_cause(each)}
    by_cause: dict[str, list[Failure]] = {}
    for failure in failures:
        own = _own_cause(failure)
        if own or not failure.group or failure.group not in explained:
            by_cause.setdefault(own or _outer_cause(failure), []).append(failure)
    lines = [f"{cause} ({_named(jobs)})" for cause, jobs in by_cause.items()]
    if not any(shortages.NO_SPACE in line for line in lines):
        places = (Path(".snakemake"), Path("results"), shortages.temporary_folder())
        full = (place for place in places if place.exists() and shutil.disk_usage(place).free < FULL_BYTES)
        lines += [shortages.disk_line(place) for place in full][:1]
    return lines


def _named(jobs: Sequence[Failure]) -> str:
    others = {1: "", 2: " and 1 other job"}.get(len(jobs), f" and {len(jobs) - 1} other jobs")
    return f"rule {jobs[0].rule}{others}, log: {', '.join(jobs[0].logs + jobs[0].cluster_logs) or 'none'}"


def _own_cause(job: Failure) -> str | None:
    """What a job's own log says of its end."""
    lines = _lines(job.logs, since_s=job.begun_s)
    if lines[-1:] == [KILLED]:
        return _killed(job)
    errors = [line.removeprefix(ERROR_LINE) for line in lines if line.startswith(ERROR_LINE)]
    return errors[-1] if errors else None


def _outer_cause(job: Failure) -> str:
    """What others say of the end of a job: its cluster, then the shell; then the last line of its logs."""
    around = _lines(job.cluster_logs)
    by_cluster = [line for line in around if line.startswith(CLUSTER)]
    limits = "\n".join([job.message, *by_cluster])
    ended = _signal("\n".join([job.exception, *around]))
    if TIME_LIMIT.search(limits):
        return (
            f"job exceeded the cluster's time limit; give it more minutes (--set-resources {job.rule}:runtime=...), "
            "then the same command resumes"
        )
    if ended == "SIGKILL" or MEMORY_LIMIT.search(limits):
        return _killed(job)
    if ended:
        return f"job ended by {ended}; run the same command again"
    if job.message and "'FAILED'" not in job.message:
        return job.message
    last = [*around, *_lines(job.logs, since_s=job.begun_s), *by_cluster][-1:]
    return last[0].strip() if last else "job failed without a message of its own; its output stands above"


def _killed(job: Failure) -> str:
    more = f"ask for more (--set-resources {job.rule}:mem_mb=...), or " if job.cluster_logs else ""
    return f"job killed (SIGKILL), probably out of memory; {more}{shortages.LESS_MEMORY}"


def _signal(text: str) -> str | None:
    """The signal that ended a command, by name or as a shell's exit code."""
    name, code = next(iter(ENDED.findall(text)), ("", ""))
    number = int(code or 0) - 128
    return name or (signal.Signals(number).name if number in {*signal.Signals} else None)


def _lines(logs: Sequence[str], since_s: float = 0.0) -> list[str]:
    """Lines of log files, blank ones aside, written after a time in seconds since the epoch."""
    files = [log for log in map(Path, logs) if log.is_file() and log.stat().st_mtime >= since_s]
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    return [line for text in texts for line in text.splitlines() if line.strip()]
