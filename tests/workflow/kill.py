"""Random SIGKILLs over whole runs of a study, each followed by the same command; then the results compared.

    PYTHONPATH=lib:tests .venv/bin/python -m workflow.kill --kills 50 --study studies/smoke.yaml

What stands after `--` are options of snakemake for the runs that are killed, `-- --profile profiles/slurm`; the
undisturbed run that they are compared with is a plain one. A study that completes between two kills is compared and
begun again from nothing, so that kills fall everywhere. Takes half a minute a kill with the smoke study.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pyarrow.parquet as pq

from switchyard.study import config
from workflow.checkout import STUDY, copy_checkout, launcher_command

VICTIMS = ("launcher", "snakemake", "job", "script", "worker")
"""Kinds of processes of a run; `job` is a snakemake of its own that does one job of a cluster."""

SPEED = {"tokens_per_second", "latency_ms_per_token", "latency_ms"}
BYTE_FOR_BYTE = ("traces", "scores", "calibrate", "datasets", "prepare")
FEWEST_COMPARED = 30
PATIENCE_S = 900

BEGUN = re.compile(r"^(?:local)?rule (\w+):\n(?: {4}.*\n)*? {4}jobid: (\d+)$", re.MULTILINE)
FINISHED = re.compile(r"^Finished jobid: (\d+)", re.MULTILINE)


class Kill(NamedTuple):
    """One kill: who, when, beside which jobs, what the run then said, and how it ended."""

    victim: str
    after_s: float
    running: str
    message: str
    ended: str


def main(arguments: Sequence[str]) -> None:
    words = list(arguments)
    cut = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--study", default=STUDY, help=f"a file of studies/ (default: {STUDY})")
    parser.add_argument("--cores", help="default: 2, or what a profile after -- says")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--longest", type=float, help="longest wait for a kill in seconds (default: a third of a run)"
    )
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=VICTIMS)
    parser.add_argument("--undisturbed", type=Path, help="a checkout in which the study is finished")
    parser.add_argument("--folder", type=Path, help="where checkouts are made (default: a temporary folder)")
    options = parser.parse_args(words[:cut])
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        kill_again_and_again(Path(folder).resolve(), options, words[cut + 1 :])


def kill_again_and_again(folder: Path, options: argparse.Namespace, extra: list[str]) -> None:
    """Print one line per kill; raise `AssertionError` for a run that is not completed, or completed otherwise."""
    plain = launcher_command(options.study, options.cores or "2")
    command = [*launcher_command(options.study, options.cores), "--", *extra] if extra else plain
    started = time.monotonic()
    undisturbed = options.undisturbed or copy_checkout(folder / "undisturbed")
    if not options.undisturbed:
        complete(undisturbed, plain)
    longest_s = options.longest or (time.monotonic() - started) / 3
    results = Path("results") / config.read(undisturbed / options.study)["study"]
    killed = copy_checkout(folder / "killed")
    chance = random.Random(options.seed)
    print(
        "| kill | victim | after | jobs at that moment | message | the run |\n|---|---|---|---|---|---|",
        flush=True,
    )
    kills = compared = 0
    while kills < options.kills:
        victims = chance.sample(options.victims, len(options.victims))
        kill = kill_once(killed, command, chance.uniform(0, longest_s), victims)
        if kill is not None:
            kills += 1
            print(
                f"| {kills} | {kill.victim} | {kill.after_s:.1f} s | {kill.running} | {kill.message} | {kill.ended} |",
                flush=True,
            )
        if kill is None or kill.ended == "completed":
            compared += check_same_results(undisturbed / results, killed / results)
            shutil.rmtree(killed / "results")
            shutil.rmtree(killed / ".snakemake")
    complete(killed, command)
    compared += check_same_results(undisturbed / results, killed / results)
    print(f"{kills} kills; {compared} files of completed runs equal to an undisturbed run's, speed aside")


def kill_once(checkout: Path, command: list[str], after_s: float, victims: Sequence[str]) -> Kill | None:
    """Start the run and, after a while, kill the first of `victims` to be found; None if the run had ended by then."""
    said, started = checkout / ".said", time.monotonic()
    with said.open("w") as output:
        launcher = subprocess.Popen(
            command, cwd=checkout, stdout=output, stderr=output, start_new_session=True
        )
    with suppress(subprocess.TimeoutExpired):
        launcher.wait(timeout=after_s)
    victim, running = None, "none"
    while launcher.poll() is None and victim is None:
        running = ", ".join(running_jobs(checkout)) or running
        victim = _kill_first(checkout, victims)
    killed_s = time.monotonic() - started
    code = launcher.wait(timeout=PATIENCE_S)
    text = said.read_text(errors="replace")
    if victim is None:
        assert code == 0, text[-4000:]
        return None
    message = _message(text)
    assert victim == "launcher" or code == 0 or message != "none", text[-4000:]
    ended = "completed" if code == 0 else "died" if code < 0 else f"failed ({code})"
    return Kill(victim, killed_s, running, message, ended)


def _kill_first(checkout: Path, victims: Sequence[str]) -> str | None:
    """Kill the first of `victims` that is alive and return its kind."""
    found: dict[str, psutil.Process] = {}
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if process.info["cwd"] == str(checkout) and (kind := kind_of(process)):
            found.setdefault(kind, process)
    for victim in victims:
        if victim in found:
            with suppress(psutil.NoSuchProcess):
                found[victim].kill()
                return victim
    return None


def kind_of(process: psutil.Process) -> str | None:
    """Which of VICTIMS a process is."""
    words = process.info["cmdline"] or []
    line = " ".join(words)
    if not words or not Path(words[0]).name.startswith("python"):
        return None
    if "run_study.py" in line:
        return "launcher"
    if "-m snakemake" in line:
        return "job" if "--target-jobs" in words else "snakemake"
    if "-m switchyard.runtime.workers" in line:
        return "worker"
    return "script" if "/.snakemake/scripts/" in line else None


def running_jobs(checkout: Path) -> list[str]:
    """Rules of the jobs that the newest log of snakemake has begun and not finished."""
    logs = list((checkout / ".snakemake" / "log").glob("*.snakemake.log"))
    newest = max(logs, key=lambda log: log.stat().st_mtime_ns, default=None)
    text = newest.read_text(errors="replace") if newest else ""
    begun = {number: rule for rule, number in BEGUN.findall(text)}
    return sorted(begun[number] for number in begun.keys() - set(FINISHED.findall(text)))


def _message(text: str) -> str:
    """The last line that the launcher wrote itself, or that there is none."""
    told = [line for line in text.splitlines() if line.startswith("switchyard: error: ")]
    return told[-1].removeprefix("switchyard: error: ") if told else "none"


def complete(checkout: Path, command: list[str]) -> None:
    """Run to the end, report included."""
    ran = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ran.returncode == 0, ran.stderr[-4000:]


def check_same_results(left: Path, right: Path) -> int:
    """Logs, traces and scores byte for byte; tables value for value, speed aside. Returns how many were compared."""
    compared = 0
    for path in sorted(left.rglob("*")):
        other = right / path.relative_to(left)
        if (path.suffix == ".parquet" and path.parent.name in BYTE_FOR_BYTE) or path.name.endswith(
            "_internal_routing.json"
        ):
            assert path.read_bytes() == other.read_bytes(), path
        elif path.suffix == ".parquet":
            one, two = (
                pq.read_table(file).to_pandas().drop(columns=SPEED, errors="ignore") for file in (path, other)
            )
            assert one.equals(two), path
        else:
            continue
        compared += 1
    assert compared > FEWEST_COMPARED and (right / "report.html").is_file()
    partial = [path for path in right.rglob("*") if ".part" in path.name]
    assert not partial, partial
    return compared


if __name__ == "__main__":
    main(sys.argv[1:])
