"""One run at a time in a folder; what a killed run leaves there is cleared before the next one."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from switchyard.errors import InputError
from switchyard.launcher import slurm
from switchyard.launcher.options import DRY_RUN

MARKER = "SWITCHYARD_CHECKOUT"
"""Environment variable of every worker: the folder whose run it works for (rules/common.smk sets it too)."""

PARTIAL = re.compile(r"\..+\.part(\.html)?")
"""Names of files and folders that were being written (`switchyard.artifacts.files.atomic`, and the report)."""


@contextmanager
def only_run(directory: Path) -> Iterator[None]:
    """Hold the folder for this run.

    Raises:
        InputError: another run has it, it cannot be written to, or its file system has no locks.
    """
    path = directory / ".snakemake" / "switchyard.lock"
    lock = FileLock(path, blocking=False, fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise busy(path.read_text() or "unknown", directory) from None
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise InputError(
                f"{directory}: results cannot be written here ({error.strerror}); name a folder of your own: "
                "python workflow_scripts/run_study.py --directory FOLDER"
            ) from error
        raise InputError(
            f"{path}: cannot be locked ({error.strerror}); put the folder on a file system with locks (flock)"
        ) from error
    try:
        path.write_text(named(os.getpid()))
        # A snakemake whose launcher was killed is killed with it, within moments; one started by hand stays.
        _, alive = psutil.wait_procs(snakemakes_in(directory), timeout=3)
        if alive:
            raise busy(named(alive[0].pid), directory)
        yield
    finally:
        lock.release()


def named(pid: int) -> str:
    """A process of this machine, for somebody who may sit at another."""
    return f"pid {pid} on {socket.gethostname()}"


def busy(holder: str, directory: Path) -> InputError:
    """The error of a second run."""
    return InputError(f"{directory}: another run is in progress ({holder}); wait for it to end, or stop it")


def clear_remains(directory: Path, results: Path, *, on_cluster: bool) -> None:
    """End orphaned workers, also those `on_cluster`, then remove the stale lock and half-written files.

    Called while no run is alive.
    """
    orphans = (slurm.cancel_left_behind(directory) if on_cluster else 0) + end_orphans(directory)
    locks = directory / ".snakemake" / "locks"
    stale = locks.is_dir() and any(locks.iterdir())
    if stale:
        shutil.rmtree(locks)
    partial = [path for path in results.rglob(".*.part*") if PARTIAL.fullmatch(path.name)]
    for path in partial:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if orphans or stale or partial:
        print(
            f"switchyard: an earlier run was interrupted: ended {orphans} orphaned workers, removed "
            f"{'its' if stale else 'no'} lock and {len(partial)} half-written files; resuming",
            file=sys.stderr,
        )


def end_orphans(directory: Path) -> int:
    """Kill the workers of runs in this folder, where no run is alive; return how many there were."""
    if MARKER in os.environ:
        return 0  # started from within a job, where all processes have the marker
    ended: set[int] = set()
    # A process may start another between the look and the kill, hence again until none is found.
    while found := [p for p in psutil.process_iter(["environ", "status"]) if _is_worker(p, directory)]:
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        ended |= {process.pid for process in found}
        psutil.wait_procs(found, timeout=10)
    return len(ended)


def _is_worker(process: psutil.Process, directory: Path) -> bool:
    marker = (process.info["environ"] or {}).get(MARKER)
    is_alive = process.info["status"] != psutil.STATUS_ZOMBIE
    return marker is not None and is_alive and Path(marker).resolve() == directory


def snakemakes_in(directory: Path) -> list[psutil.Process]:
    """Snakemake processes that run a workflow in this folder; not those that do a job of one."""
    processes = psutil.process_iter(["cmdline", "cwd"])
    return [p for p in processes if p.info["cwd"] == str(directory) and _runs(p.info["cmdline"] or [])]


def _runs(words: Sequence[str]) -> bool:
    program = [Path(word).name for word in words[:5]]
    is_snakemake = "snakemake" in program and program[0].startswith(("python", "snakemake"))
    return is_snakemake and not {"--mode", *DRY_RUN} & {*words}
