"""Processes: run one that dies with us, hold a folder for one of them, and end those that were left behind."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from switchyard.errors import InputError

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_PR_SET_PDEATHSIG = 1


def words_of(process: psutil.Process) -> list[str]:
    """Its command line; empty where it is gone or another user's."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def folder_of(process: psutil.Process) -> str | None:
    """Its working directory; None where it is gone or another user's."""
    try:
        return process.cwd()
    except psutil.Error:
        return None


def told(pid: int) -> str:
    """A process of this machine as one says it to somebody who may sit at another."""
    return f"pid {pid} on {socket.gethostname()}"


@contextmanager
def holding(path: Path) -> Iterator[str | None]:
    """Hold the lock file `path`, which then names this process; yields None, or who holds it already.

    The kernel lets the lock go however its holder ends.

    Raises:
        InputError: the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            yield lock.read().strip() or "unknown"
            return
        except OSError as error:
            raise InputError(
                f"{path}: cannot be locked ({error.strerror}); put the folder on a file system with locks (flock)"
            ) from error
        lock.truncate(0)
        lock.write(told(os.getpid()))
        lock.flush()
        yield None


def run(command: list[str], *, folder: Path, environment: dict[str, str]) -> int:
    """Run `command` in a session of its own, without input; return its exit code, -n where signal n ended it.

    The signals that ask this process to end are handed on to the whole session, the second one as SIGKILL. If this
    process is killed, the kernel kills the command (Linux).
    """
    received: list[int] = []
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_parent,
    )

    def forward(number: int, _: object) -> None:
        os.killpg(child.pid, signal.SIGKILL if received else number)
        received.append(number)

    ignored = {number for number in FORWARDED if signal.getsignal(number) is signal.SIG_IGN}
    previous = {number: signal.signal(number, forward) for number in FORWARDED if number not in ignored}
    try:
        code = child.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return -received[0] if received and code else code


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_marked(variable: str, folder: Path, *, is_kept: Callable[[psutil.Process], bool]) -> int:
    """Kill the processes that carry `variable=folder` in their environment and wait until they are gone.

    Spared are those for which `is_kept` is true of themselves or of an ancestor. Returns how many were ended.
    """
    ended: set[int] = set()
    # A process may start another between the look and the kill, hence again until none is found.
    while found := [p for p in psutil.process_iter() if _is_left_behind(p, variable, folder, is_kept)]:
        for process in found:
            ended.add(process.pid)
            _kill(process)
        psutil.wait_procs(found, timeout=10)
    return len(ended)


def _is_left_behind(
    process: psutil.Process, variable: str, folder: Path, is_kept: Callable[[psutil.Process], bool]
) -> bool:
    try:
        value = process.environ().get(variable)
        if value is None or Path(value).resolve() != folder or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return not any(is_kept(p) for p in (process, *process.parents()))
    except psutil.Error:
        return False


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
