"""One candidate in a sandbox: started, watched, ended, and what became of it."""

from __future__ import annotations

import fcntl
import os
import secrets
import select
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack
from typing import IO, NamedTuple

from switchyard.errors import InputError
from switchyard.evaluation.sandbox.limits import Limits
from switchyard.evaluation.sandbox.stage import Stage
from switchyard.evaluation.sandbox.walls import Start, Walls, ordinary_user

REASONS = ("passed", "wrong", "error", "time-out", "memory", "refused")
"""What becomes of a candidate.

wrong: an assertion failed. error: another exception, or it ended itself. memory: it asked for more than the limit.
refused: the sandbox denied it something (a file, a process, the network), or it is too long to be run.
"""

LONGEST_BYTES = 256 * 2**10
"""Of a job; it must fit into a pipe."""

_VERDICT_BYTES = 4096
_BEGUN = b"+"


class Outcome(NamedTuple):
    """What became of a candidate."""

    reason: str
    """One of `REASONS`."""
    message: str = ""


class NotStarted(InputError):
    """The walls could not be raised: the candidate did not run."""


class Sandbox(NamedTuple):
    """Walls on a stage."""

    walls: Walls
    stage: Stage
    limits: Limits

    def run(self, program: str, *, mark: str = "candidate") -> Outcome:
        """Run a program with its tests; they are passed if it comes to its end.

        Args:
            program: Python source.
            mark: the last word of its process's command line.

        Raises:
            NotStarted: no candidate could be run here, and why.
        """
        password = secrets.token_hex().encode()
        job = password + b"\n" + program.encode(errors="surrogatepass")
        if len(job) > LONGEST_BYTES:
            return Outcome("refused", f"{len(job)} bytes are more than the {LONGEST_BYTES} of a program")
        with ExitStack() as held:
            rules = held.enter_context(self.stage.filter.open("rb"))
            start = self.walls.start(self.stage, rules.fileno(), self.limits)
            words = [mark, _limits(self.limits, start), start.landlock]
            errors = held.enter_context(tempfile.TemporaryFile())
            process = _started(start, words, job, errors, rules.fileno())
            held.callback(_end, process)
            deadline = time.monotonic() + self.limits.wall_seconds
            said, late = _listen(process, deadline)
            status, late = _status(process, deadline, late)
            if not said.startswith(_BEGUN):
                errors.seek(0)
                raise NotStarted(_why(self.walls, errors.read(2000), status))
        return _outcome(said.removeprefix(_BEGUN), password, status, late)


def _limits(limits: Limits, start: Start) -> str:
    """What `runner.limit` takes."""
    # Within Landlock a user's other processes would count; the filter allows no process there either.
    own_user = bool(ordinary_user()) or not start.landlock
    numbers = (
        max(1, round(limits.seconds)),
        limits.memory_mb * 2**20,
        limits.files_mb * 2**20,
        limits.open_files,
        limits.threads if own_user else 0,
    )
    return ",".join(map(str, numbers))


def _started(
    start: Start, words: list[str], job: bytes, errors: IO[bytes], rules: int
) -> subprocess.Popen[bytes]:
    read, write = os.pipe()
    try:
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 2 * LONGEST_BYTES)
        os.write(write, job)
        os.close(write)
        return subprocess.Popen(
            [*start.command, *words],
            stdin=read,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=start.environment,
            cwd="/",
            pass_fds=(rules,) if start.needs_filter else (),
            start_new_session=True,
            **ordinary_user(),
        )
    finally:
        os.close(read)


def _listen(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bool]:
    """What comes out of the sandbox, no more than a verdict may have, and whether it was late."""
    said, out = b"", process.stdout.fileno()
    while len(said) <= _VERDICT_BYTES:
        ready, _, _ = select.select([out], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return said, True
        piece = os.read(out, _VERDICT_BYTES)
        if not piece:
            return said, False
        said += piece
    process.kill()
    return said, False


def _status(process: subprocess.Popen[bytes], deadline: float, late: bool) -> tuple[int, bool]:
    """Exit status; a candidate may have closed its output and go on."""
    try:
        if not late:
            return process.wait(max(0.1, deadline - time.monotonic())), False
    except subprocess.TimeoutExpired:
        pass
    process.kill()
    return process.wait(), True


def _end(process: subprocess.Popen[bytes]) -> None:
    """Bubblewrap's death is that of all within its namespace of processes."""
    process.kill()
    process.wait()
    process.stdout.close()


def _why(walls: Walls, errors: bytes, status: int) -> str:
    lines = errors.decode(errors="replace").strip().splitlines()
    return f"sandbox: {walls.name} cannot be used here ({lines[-1] if lines else f'status {status}'})"


def _outcome(said: bytes, password: bytes, status: int, late: bool) -> Outcome:
    """A verdict with the password, or else what the end of the process says."""
    if len(said) >= _VERDICT_BYTES:
        return Outcome("error", "it wrote where verdicts are written")
    given, *verdict = said.split(b"\n", 2)
    if given == password and len(verdict) == 2:
        return Outcome(*(part.decode(errors="replace") for part in verdict))
    number = status - 128 if status > 128 else -status
    if late or number in (signal.SIGXCPU, signal.SIGKILL):
        return Outcome("time-out", "it ran longer than its limit")
    if number == signal.SIGSYS:
        return Outcome("refused", "it made a system call of another architecture")
    if number > 0:
        return Outcome("error", f"it was ended by signal {number}")
    return Outcome("error", "it ended before its tests did")
