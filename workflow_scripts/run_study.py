"""Run a study from any state of the checkout: `python workflow_scripts/run_study.py [--study FILE] [TARGET ...]`.

The one script here that belongs to no rule. It starts snakemake and adds what snakemake leaves to its user:

1. one run at a time in a folder, and one line about it to whoever comes second;
2. a run that was killed leaves a lock, workers that go on writing, and half-written files: all are cleared;
3. after a failure, the one line of each failed job that says what to mend;
4. the HTML report, made again when a result is newer.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "lib"))

from switchyard.artifacts import shortages
from switchyard.errors import ERROR_LINE, InputError
from switchyard.launcher import failures, processes, slurm
from switchyard.study import config as configuration

MARKER = "SWITCHYARD_CHECKOUT"
"""Environment variable of every worker: the folder whose run it works for (rules/common.smk sets it too)."""

PARTIAL = re.compile(r"\..+\.part(\.html)?")
"""Names of files and folders that were being written (`switchyard.artifacts.files.atomic`, and the report below)."""

FULL_BYTES = 1 << 20
"""A disk with less room than this is the reason why a run failed."""

DRY_RUN = {"-n", "--dry-run", "--dryrun"}
PROFILE_OPTIONS = {"--profile", "--workflow-profile"}
CONFIG_OPTIONS = {"--config", "-C", "--configfile", "--configfiles", *PROFILE_OPTIONS}


class Options(NamedTuple):
    """The command line: what follows `--` is snakemake's."""

    study: Path | None
    cores: str | None
    directory: Path
    report_only: bool
    targets: list[str]
    extra: list[str]


def main(arguments: Sequence[str]) -> int:
    """Run the study and its report; return the exit code."""
    options = parse(arguments)
    try:
        results = options.directory / "results" / study_name(options)
        with only_run(options.directory):
            is_look = options.report_only or DRY_RUN & set(options.extra)
            clear_remains(options.directory, results, on_cluster=not is_look)
            if not options.report_only:
                code = run_snakemake(options)
                if code or options.targets or DRY_RUN & set(options.extra):
                    return code
            return make_report(options, results)
    except InputError as error:
        return complain(str(error), 2)


def parse(arguments: Sequence[str]) -> Options:
    """Options from the command line."""
    arguments = list(arguments)
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(
        description="Run a study with snakemake, after a killed run too, and write its HTML report.",
        epilog="Options after -- are handed to snakemake.",
    )
    parser.add_argument(
        "--study", type=Path, help="a file of studies/, laid over config.yaml (default: none)"
    )
    parser.add_argument(
        "--cores", help="how many cores to use (default: all, or what a profile after -- says)"
    )
    parser.add_argument(
        "--directory", type=Path, default=ROOT, help="where results go (default: the checkout)"
    )
    parser.add_argument("--report-only", action="store_true", help="write the report again, run nothing")
    parser.add_argument("targets", nargs="*", help="rules or files to make (default: the whole study)")
    known = parser.parse_args(arguments[:cut])
    return Options(
        known.study and known.study.resolve(),
        known.cores,
        known.directory.resolve(),
        known.report_only,
        known.targets,
        arguments[cut + 1 :],
    )


def study_name(options: Options) -> str:
    """The value of `study` in the merged configuration; raises `InputError` for files that cannot be read."""
    own = options.directory / "config.yaml"
    files = [
        ROOT / "config.yaml",
        *([own] if own.is_file() else []),
        *([options.study] if options.study else []),
    ]
    merged: dict[str, Any] = {}
    for file in files:
        merged = configuration.merge(merged, configuration.read(file))
    overrides = [word.removeprefix("study=") for word in options.extra if word.startswith("study=")]
    name = overrides[-1] if overrides else merged.get("study")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][\w-]*", name):
        raise InputError(f"{files[-1]}: study: {name!r} cannot name a folder; use letters, digits, - and _")
    return name


def complain(message: str, code: int = 1) -> int:
    """Print one error line; return the exit code."""
    print(f"{ERROR_LINE}{message}", file=sys.stderr)
    return code


def tell(message: str) -> None:
    """Print one line that is no error."""
    print(f"switchyard: {message}", file=sys.stderr)


@contextmanager
def only_run(directory: Path) -> Iterator[None]:
    """Hold the folder for this run, or end with one line about the run that has it."""
    with processes.holding(directory / ".snakemake" / "switchyard.lock") as holder:
        if holder is not None:
            stop_second(holder, directory)
        # A snakemake whose launcher was killed is killed with it, within moments; one started by hand stays.
        _, alive = psutil.wait_procs(snakemakes_in(directory), timeout=3)
        if alive:
            stop_second(processes.told(alive[0].pid), directory)
        yield


def stop_second(holder: str, directory: Path) -> NoReturn:
    raise SystemExit(
        complain(f"{directory}: another run is in progress ({holder}); wait for it to end, or stop it")
    )


def snakemakes_in(directory: Path) -> list[psutil.Process]:
    """Scheduling snakemake processes with this working directory."""
    return [
        process
        for process in psutil.process_iter()
        if snakemake_mode(process) == "default" and processes.folder_of(process) == str(directory)
    ]


def snakemake_mode(process: psutil.Process) -> str | None:
    """`default` for a snakemake that runs a workflow, `subprocess` or `remote` for one that does a job, else None."""
    words = processes.words_of(process)
    program = [Path(word).name for word in words[:5]]
    if (
        "snakemake" not in program
        or not program[0].startswith(("python", "snakemake"))
        or DRY_RUN & set(words)
    ):
        return None
    return words[words.index("--mode") + 1] if "--mode" in words[:-1] else "default"


def clear_remains(directory: Path, results: Path, *, on_cluster: bool) -> None:
    """End orphaned workers, also those `on_cluster`, then remove the stale lock and half-written files.

    Called while no run is alive.
    """
    orphans = end_orphans(directory) + (slurm.cancel_left_behind(directory) if on_cluster else 0)
    locks = directory / ".snakemake" / "locks"
    stale = locks.is_dir() and any(locks.iterdir())
    if stale:
        shutil.rmtree(locks)
    partial = [path for path in results.rglob(".*.part*") if PARTIAL.fullmatch(path.name)]
    for path in partial:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if orphans or stale or partial:
        tell(
            f"an earlier run was cut short: {orphans} orphaned workers ended, {'its' if stale else 'no'} lock cleared, "
            f"{len(partial)} half-written files removed; going on from there"
        )


def end_orphans(directory: Path) -> int:
    """Kill workers of runs in this folder that no live snakemake waits for; return how many."""
    if MARKER in os.environ:
        return 0  # started from within a job, where the marker tells nothing apart
    # A job of a cluster (`remote`) has its own master, and its snakemake may run on another machine.
    return processes.end_marked(
        MARKER, directory, is_kept=lambda p: snakemake_mode(p) in ("default", "remote")
    )


def snakemake_command(options: Options, *more: str) -> list[str]:
    """The command without targets; a study file inside the folder is named from there, as it shows in reports."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
    ]
    has_profile = any(word.split("=")[0] in PROFILE_OPTIONS for word in options.extra)
    if options.cores or not (has_profile or "SNAKEMAKE_PROFILE" in os.environ):
        command += ["--cores", options.cores or "all"]
    if options.study:
        command += ["--configfile", os.path.relpath(options.study, options.directory)]
    return [*command, "--rerun-incomplete", *more]


def run_snakemake(options: Options) -> int:
    """Run the study; on failure say what to mend. Returns the exit code."""
    before = set(snakemake_logs(options.directory))
    code = run_child([*snakemake_command(options, *options.extra), "--", *options.targets], options.directory)
    if code == 0:
        return 0
    if count := end_orphans(options.directory):
        tell(f"{count} workers outlived their run and have been ended")
    if code < 0:
        return was_killed(-code)
    fresh = sorted(set(snakemake_logs(options.directory)) - before)
    summarise(fresh, options.directory)
    return code


def was_killed(number: int) -> int:
    """One line about a run that ended by a signal."""
    name = signal.Signals(number).name
    return complain(f"the run was ended by {name}; the same command again goes on from here", 128 + number)


def run_child(command: list[str], directory: Path) -> int:
    """Run snakemake, its workers marked; its exit code, -n where signal n ended it."""
    return processes.run(command, folder=directory, environment={**os.environ, MARKER: str(directory)})


def snakemake_logs(directory: Path) -> list[Path]:
    return list((directory / ".snakemake" / "log").glob("*.snakemake.log"))


def summarise(logs: list[Path], directory: Path) -> None:
    """Print, last of all, the line of each failed job that says what to mend; equal lines once."""
    causes = failures.causes(logs, directory)
    for message, failed in causes.items():
        first = failed[0]
        more = f" and {len(failed) - 1} more jobs" if len(failed) > 1 else ""
        complain(
            f"{message} (rule {first.rule}{more}, log: {', '.join(first.logs + first.cluster_logs) or 'none'})"
        )
    if not any(shortages.NO_SPACE in message for message in causes):
        complain_of_full_disk(directory / ".snakemake", directory / "results", shortages.temporary_folder())


def complain_of_full_disk(*places: Path) -> int:
    """One line about the first of some places whose disk is full; 0 where none is."""
    for place in filter(Path.exists, places):
        if shutil.disk_usage(place).free < FULL_BYTES:
            return complain(shortages.disk_line(place))
    return 0


def make_report(options: Options, results: Path) -> int:
    """Write `results/report.html` if it is asked for, missing, or older than what it shows."""
    report = results / "report.html"
    if not (options.report_only or is_stale(report, results, options.study)):
        tell(f"{shown(report)} is up to date")
        return 0
    if not results.is_dir():
        return complain(f"{shown(results)} does not exist; run the study first, then its report")
    tell(f"writing {shown(report)}")
    partial = report.with_name(f".{report.name}.{os.getpid()}.part.html")
    command = snakemake_command(options, *config_options(options.extra), "--report", str(partial))
    stylesheet = ROOT / "reports" / "stylesheet.css"
    if stylesheet.is_file():
        command += ["--report-stylesheet", str(stylesheet)]
    before = set(snakemake_logs(options.directory))
    try:
        code = run_child(command, options.directory)
        if code == 0:
            partial.replace(report)
            tell(f"the report is at {shown(report)}")
        elif code > 0 and complain_of_full_disk(results):
            return code
    finally:
        partial.unlink(missing_ok=True)
    if code < 0:
        return was_killed(-code)
    if code:
        summarise(sorted(set(snakemake_logs(options.directory)) - before), options.directory)
        return complain(f"{shown(report)} was not written; snakemake's reason stands above", code)
    return 0


def is_stale(report: Path, results: Path, study: Path | None) -> bool:
    """Whether the report is missing or older than a result, its own sources, or the workflow it describes."""
    if not report.is_file():
        return True
    made_ns = report.stat().st_mtime_ns
    shown_files = [path for path in (*results.rglob("*"), *(ROOT / "reports").rglob("*")) if path != report]
    shown_files += [*(ROOT / "rules").glob("*.smk"), *(ROOT / "workflow_scripts").glob("*.py")]
    shown_files += [ROOT / "Snakefile", ROOT / "config.yaml", *([study] if study else [])]
    return any(path.stat().st_mtime_ns > made_ns for path in shown_files if path.is_file())


def config_options(extra: Sequence[str]) -> list[str]:
    """Those of snakemake's options that decide which study it is."""
    kept: list[str] = []
    keeping = False
    for word in extra:
        if word.startswith("-"):
            keeping = word.split("=")[0] in CONFIG_OPTIONS
        if keeping:
            kept.append(word)
    return kept


def shown(path: Path) -> str:
    """The path as the user would type it."""
    return os.path.relpath(path)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(was_killed(signal.SIGINT))
    except OSError as error:
        if not (line := shortages.told(error)):
            raise
        sys.exit(complain(line))
