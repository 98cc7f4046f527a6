"""Why jobs of a run failed: read from snakemake's logs, the jobs' own and their cluster's, as one line each to mend."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from switchyard.artifacts import shortages
from switchyard.errors import ERROR_LINE
from switchyard.runtime import workers

EVENT = re.compile(
    r"^Finished jobid: (?P<finished>\d+)"
    r"|\.(?P<script>\w+)\.py\S*' "
    r"(?:died with <Signals\.(?P<signal>\w+): \d+>|returned non-zero exit status (?P<code>\d+))\."
    r"|^\[.*\]\n(?P<group>(?: {4}(?!jobs:)\S.*\n)+) {4}jobs:\n"
    r"|^(?P<indent> *)Error in rule (?P<rule>\S+?):\n(?P<facts>(?:(?P=indent) {4}.*\n)*)",
    re.MULTILINE,
)
"""In snakemake's log: a job's success, how a script ended, a failed group, a failed job (indented if of a group)."""

CLUSTER_LOGS = ".snakemake/slurm_logs/"
CLUSTER = "slurmstepd"
"""How a line of the cluster's own begins in its log of a job."""

MEMORY_LIMIT = re.compile(r"OUT_OF_MEMORY|oom.kill|memory limit", re.IGNORECASE)
TIME_LIMIT = re.compile(r"'TIMEOUT'|DUE TO TIME LIMIT")


class Failure(NamedTuple):
    """A job that failed: its rule, its logs, its cluster's, what that said, and the signal that ended it, if any."""

    rule: str
    logs: tuple[str, ...]
    cluster_logs: tuple[str, ...]
    message: str | None
    signal: str | None


def causes(logs: Sequence[Path], directory: Path) -> dict[str, list[Failure]]:
    """What is to be mended, by the line that says so, and the jobs that failed for it.

    Args:
        logs: of snakemake, one a run.
        directory: the folder of the runs, from which jobs name their logs.
    """
    found = [failure for log in logs for failure in failures(_text_of(log))]
    closer = dict.fromkeys(each for failure in found for each in _told_by_cluster(failure, directory))
    by_line: dict[str, list[Failure]] = {}
    for failure in closer:
        by_line.setdefault(_cause(failure, directory), []).append(failure)
    return by_line


def failures(text: str, *, heal: bool = True) -> list[Failure]:
    """Jobs of a log of snakemake that failed, each by its last failure.

    Args:
        heal: leave out those that finished later. To be False for a log of several snakemakes, which number their jobs
            each for itself.
    """
    found: dict[tuple[str, ...], tuple[str | None, Failure]] = {}
    ends: dict[str, list[str | None]] = {}  # of scripts by rule, until their job is told to have failed
    group = ""
    for event in EVENT.finditer(_without_shown_logs(text)):
        if event["finished"] and heal:
            found = {key: value for key, value in found.items() if value[0] != event["finished"]}
        elif event["script"]:
            end = event["signal"] or _signal_of(int(event["code"]))
            ends.setdefault(event["script"], []).append(end)
        elif event["group"]:
            group = event["group"]
        elif event["rule"]:
            around = group if event["indent"] else ""
            logs = [*_names_of_logs(event["facts"]), *_names_of_logs(around)]
            own = tuple(log for log in logs if CLUSTER_LOGS not in log)
            jobid = _fact("jobid", event["facts"])
            key = own or (event["rule"], str(jobid))
            _, before = found.pop(key, (None, None))
            told = ends.get(event["rule"]) or [before.signal if before and not heal else None]
            cluster_logs = tuple(log for log in logs if CLUSTER_LOGS in log)
            message = _fact("message", event["facts"]) or _fact("message", around)
            found[key] = jobid, Failure(event["rule"], own, cluster_logs, message, told.pop(0))
    return [failure for _, failure in found.values()]


def _without_shown_logs(text: str) -> str:
    """A log of snakemake without the logs that it shows between bars: of failed jobs, and of other snakemakes."""
    kept: list[str] = []
    bars: list[str] = []
    titled = False
    for line in text.splitlines():
        if titled and set(line.strip()) == {"="}:
            bars.append(line)
        elif bars and line == bars[-1]:
            bars.pop()
        elif not bars:
            kept.append(line)
        titled = line.lstrip().startswith("Logfile ") and line.endswith(":")
    return "".join(f"{line}\n" for line in kept)


def _fact(name: str, block: str) -> str | None:
    """What snakemake says of a failed job or group under a name."""
    found = re.search(rf"^ *{name}: (?!None$|Error in group )(.*)$", block, re.MULTILINE)
    return found and found[1]


def _names_of_logs(block: str) -> list[str]:
    names = (_fact("log", block) or "").removesuffix(" (check log file(s) for error details)")
    return names.split(", ") if names else []


def _told_by_cluster(failure: Failure, directory: Path) -> list[Failure]:
    """The jobs that failed within a job of a cluster, as its log tells them; itself where it does not."""
    inner = [each for log in failure.cluster_logs for each in failures(_text_of(directory / log), heal=False)]
    return [each._replace(cluster_logs=failure.cluster_logs, message=failure.message) for each in inner] or [
        failure
    ]


def _signal_of(exit_code: int) -> str | None:
    """The signal that a shell reports as this exit code."""
    number = exit_code - 128
    return signal.Signals(number).name if number in {*signal.Signals} else None


def _cause(failure: Failure, directory: Path) -> str:
    """Why a job failed: how it was ended if it did not end itself, the error line in its logs, or their last line."""
    lines = [line for log in failure.logs for line in _lines_of(directory / log)]
    cluster = [line for log in failure.cluster_logs for line in _lines_of(directory / log)]
    by_cluster = [failure.message or "", *(line for line in cluster if line.startswith(CLUSTER))]
    ended = signal.SIGKILL.name if lines[-1:] == [workers.KILLED] else failure.signal
    if any(map(TIME_LIMIT.search, by_cluster)):
        return (
            "the job took longer than the cluster lets it: give it more time in minutes "
            f"(--set-resources {failure.rule}:runtime=...), then the same command goes on"
        )
    if ended == signal.SIGKILL.name or any(map(MEMORY_LIMIT.search, by_cluster)):
        more = (
            f"ask for more (--set-resources {failure.rule}:mem_mb=...), or " if failure.cluster_logs else ""
        )
        return f"the job was killed, by lack of memory if nobody did it: {more}{shortages.LESS_MEMORY}"
    if failure.message and "'FAILED'" not in failure.message:
        return failure.message
    if ended:
        return f"the job was ended by {ended}; the same command tries it again"
    errors = [line for line in lines if line.startswith(ERROR_LINE)]
    if errors:
        return errors[-1].removeprefix(ERROR_LINE)
    last = [line.strip() for line in (by_cluster[1:] or lines or cluster)[-1:]]
    return last[0] if last else f"a job of rule {failure.rule} failed; its output stands above"


def _lines_of(log: Path) -> list[str]:
    return [line for line in _text_of(log).splitlines() if line.strip()]


def _text_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
