"""The self-test: code that tries to get through each wall, before the first candidate runs.

An attempt is a program that comes to its end if the wall holds. Where the host can see what happened, it looks, too.
Should a wall not hold, an attempt does no harm: it aims at things that are there for it.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from switchyard.errors import InputError
from switchyard.evaluation.sandbox.candidate import Sandbox
from switchyard.evaluation.sandbox.walls import ordinary_user

HELD = "held"

_SECONDS = 1
"""Limit of CPU time for an attempt."""

_BURIAL_S = 5
"""Time that a killed process may take to disappear."""

_FAILS = """
def fails(action, *given):
    try:
        action(*given)
    except (OSError, MemoryError, OverflowError):
        return True
    return False
"""


class Attempt(NamedTuple):
    """How one wall is tried."""

    program: str
    """With names of the host in braces."""
    ends: str = "passed"
    """What becomes of the program where the wall holds."""
    still: Callable[[Host], bool] = lambda host: True
    """What the host must find afterwards."""


class Host:
    """Things on the host that an attempt aims at."""

    def __init__(self, held: ExitStack) -> None:
        self.mark = f"proof-{os.getpid()}-{time.monotonic_ns()}"
        self.folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="switchyard-proof-")))
        self.folder.chmod(0o777)
        self.file = self.folder / "secret"
        self.file.write_text("secret")
        self.file.chmod(0o666)
        self.server = held.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.server.settimeout(0.05)
        self.victim = held.enter_context(_victim())
        held.callback(self._end_leftovers)

    def names(self) -> dict[str, str | int]:
        """What programs call them."""
        return {
            "file": str(self.file),
            "folder": str(self.folder),
            "home": str(Path.home()),
            "port": self.server.getsockname()[1],
            "victim": self.victim.pid,
        }

    def was_not_called(self) -> bool:
        """Nobody connected to the server."""
        with suppress(TimeoutError):
            self.server.accept()[0].close()
            return False
        return True

    def has_its_file(self) -> bool:
        """The file is what it was, and alone."""
        return os.listdir(self.folder) == ["secret"] and self.file.read_text() == "secret"

    def has_its_process(self) -> bool:
        """The process that signals were sent to lives."""
        return self.victim.poll() is None

    def has_no_leftovers(self) -> bool:
        """No process of an attempt is left, as soon as the system has buried them."""
        deadline = time.monotonic() + _BURIAL_S
        while any(True for _ in self._leftovers()):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def _leftovers(self) -> Iterator[int]:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if self.mark.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                        yield int(entry.name)

    def _end_leftovers(self) -> None:
        for process in self._leftovers():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


@contextmanager
def _victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the user that candidates run as."""
    process = subprocess.Popen(["sleep", "600"], cwd="/", start_new_session=True, **ordinary_user())
    try:
        yield process
    finally:
        process.kill()
        process.wait()


ATTEMPTS = {
    "host files": Attempt(
        """
for path in ({file!r}, {folder!r} + "/../" + {folder!r}.split("/")[-1] + "/secret", "/etc/passwd", "/proc/1/environ"):
    assert fails(open, path), path
assert fails(open, {folder!r} + "/new", "w") and fails(open, {file!r}, "a")
assert fails(os.chmod, {file!r}, 0) and fails(os.unlink, {file!r}) and fails(os.rename, {file!r}, {file!r} + "2")
""",
        still=Host.has_its_file,
    ),
    "home": Attempt(
        """
for path in ({home!r}, "/root", "/home", "/work", "/mnt", "/var", "/proc/self/root"):
    assert fails(os.listdir, path) or not os.listdir(path) or path in ("/root", "/home"), path
def write(path={home!r} + "/.switchyard-proof"):
    open(path, "w").close()
    os.unlink(path)
assert fails(write)
"""
    ),
    "environment": Attempt(
        """
assert set(os.environ) <= {{"LD_LIBRARY_PATH", "PYTHONHASHSEED", "PWD", "LC_CTYPE"}}, list(os.environ)
import sys
assert not [path for path in sys.path if "site-packages" in path]
"""
    ),
    "interpreter is read-only": Attempt(
        """
assert fails(open, os.__file__, "a") and fails(open, os.path.dirname(os.__file__) + "/new.py", "w")
"""
    ),
    "network": Attempt(
        """
import socket
def call(address, family=socket.AF_INET, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as one:
        one.connect(address)
        one.send(b"x")
assert fails(call, ("127.0.0.1", {port}))
assert fails(call, ("127.0.0.1", {port}), socket.AF_INET, socket.SOCK_DGRAM)
assert fails(call, "\\0switchyard", socket.AF_UNIX)
""",
        still=Host.was_not_called,
    ),
    "fork bomb": Attempt(
        """
import threading, time
def forks():
    for _ in range(100):
        if os.fork() == 0:
            time.sleep(20)
assert fails(forks)
def threads(event=threading.Event()):
    try:
        for _ in range(5000):
            threading.Thread(target=event.wait, daemon=True).start()
    except (RuntimeError, MemoryError):
        raise OSError
assert fails(threads)
""",
        still=Host.has_no_leftovers,
    ),
    "memory": Attempt("block = bytearray({memory_bytes}); assert False", ends="memory"),
    "memory of no process": Attempt(
        """
import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)
assert libc.shmget(0, {memory_bytes}, 0o1600) == -1
assert fails(os.memfd_create, "x")
assert fails(mmap.mmap, -1, {memory_bytes})
"""
    ),
    "disk": Attempt(
        """
def fill(folder):
    path = folder + "/switchyard-proof"
    try:
        with open(path, "wb") as file:
            for _ in range({files_mb} + 1):
                file.write(bytes(2**20))
                file.flush()
    finally:
        if os.path.exists(path):
            os.unlink(path)
def fill_many():
    try:
        for number in range({files_mb} + 1):
            with open("/tmp/switchyard-proof" + str(number), "wb") as file:
                file.write(bytes(2**20))
    finally:
        for name in os.listdir("/tmp"):
            if name.startswith("switchyard-proof") and name[16:].isdigit():
                os.unlink("/tmp/" + name)
for folder in ("/tmp", "/dev/shm", "/var/tmp", "/", {folder!r}):
    assert fails(fill, folder), folder
assert fails(fill_many)
""",
        still=Host.has_its_file,
    ),
    "signals": Attempt(
        """
import signal
assert fails(os.kill, {victim}, signal.SIGKILL)
assert fails(os.killpg, {victim}, signal.SIGKILL)
""",
        still=Host.has_its_process,
    ),
    "leftover processes": Attempt(
        """
import threading, time
def stay():
    while True:
        time.sleep(1)
try:
    if os.fork() == 0:
        os.setsid()
        time.sleep(20)
        os._exit(0)
except OSError:
    pass
try:
    os.posix_spawn("/usr/bin/sleep", ["sleep", "20"], {{}})
except OSError:
    pass
threading.Thread(target=stay, daemon=True).start()
""",
        still=Host.has_no_leftovers,
    ),
    "privileges": Attempt(
        """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
assert os.getuid() and os.geteuid() and fails(os.setuid, 0) and fails(os.setgroups, [0])
for flag in (0x10000000, 0x20000, 0x40000000, 0x20000000):
    assert libc.unshare(flag) == -1
assert libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == -1 and libc.chroot(b"/tmp") == -1
assert libc.ptrace(16, {victim}, 0, 0) == -1
assert libc.prctl(38, 0, 0, 0, 0) in (-1,)
""",
    ),
    "limits stay": Attempt(
        """
import resource
for name in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
    hard = resource.getrlimit(name)[1]
    assert hard != resource.RLIM_INFINITY
    try:
        resource.setrlimit(name, (hard + 1, hard + 1))
    except ValueError:
        continue
    assert False, name
""",
    ),
    "time": Attempt("while True: pass", ends="time-out"),
}
"""By wall: what is tried."""


def prove(sandbox: Sandbox) -> dict[str, str]:
    """Try every wall: its name, and `held` or what happened.

    Raises:
        NotStarted: no candidate can be run here.
        InputError: a correct program does not pass.
    """
    short = sandbox._replace(limits=dataclasses.replace(sandbox.limits, seconds=_SECONDS))
    with ExitStack() as held:
        host = Host(held)
        limits = sandbox.limits
        names = {**host.names(), "memory_bytes": 2 * limits.memory_mb * 2**20, "files_mb": limits.files_mb}
        if (outcome := short.run("assert 1 + 1 == 2", mark=host.mark)).reason != "passed":
            raise InputError(
                f"sandbox: a correct program was not passed ({outcome.reason}: {outcome.message}); check that the "
                f"machine has {limits.memory_mb} MB of memory to spare, or raise code.memory_mb"
            )
        return {name: _try(short, one, host, names) for name, one in ATTEMPTS.items()}


def _try(sandbox: Sandbox, attempt: Attempt, host: Host, names: dict[str, str | int]) -> str:
    program = "import os\n" + _FAILS + attempt.program.format(**names)
    outcome = sandbox.run(program, mark=host.mark)
    if outcome.reason != attempt.ends:
        return f"broken: {outcome.reason} {outcome.message}".rstrip()
    return HELD if attempt.still(host) else "broken: the host was changed"


def check(walls: dict[str, str], name: str) -> None:
    """Refuse walls of which one did not hold.

    Raises:
        InputError: naming the wall.
    """
    for wall, found in walls.items():
        if found != HELD:
            raise InputError(
                f"sandbox: {name}, wall {wall!r} is {found}; no candidate was run; report this with your kernel "
                f"({os.uname().release})"
            )
