"""The server behind `switchyard.runtime.warm`, and its residents: forks that do one job after the other.

The server imports and forks, and never opens weights or a device, which no fork could use. A resident does one job at
a time, in the job's folder and on its descriptors. After a success it waits for the next call of its home, with the
model that it has loaded; after anything else it ends. A call goes to an idle resident of its home or to a new one, so
that there are never more of them than jobs at once. Those that nobody needs end: at the first call of another home,
or after some idle seconds.

A job is done once or not at all. A resident says that it begins before it does, and only then stops the job from
helping itself.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import select
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from switchyard.runtime.warm import identity, perform, prepare

ONE_THREAD = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""For the server alone: pyarrow's spare allocator would start a thread as it is imported."""

OF_A_STEP = ("SLURM_", "SLURMD_", "SRUN_")
"""Variables that differ between the steps of one job of a cluster, and mean nothing to its work."""

_DEVICES = ("/dev/nvidia", "/dev/kfd", "/dev/dri")
_PATIENCE_S = 10.0
_GRACE_S = 1.0
_PR_SET_PDEATHSIG = 1


def serve(listener: socket.socket, folder: Path, idle_s: float) -> NoReturn:
    """Have every call's work done, until standard input ends; then remove `folder`."""
    server = Server(listener, idle_s)
    try:
        while server.turn():
            pass
    except Exception:
        traceback.print_exc()
    finally:
        if os.getpid() == server.pid:
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


@dataclass(eq=False)
class Resident:
    """A fork as its server sees it: jobs go over `channel`, a byte comes back when it is idle again."""

    channel: socket.socket
    home: str | None
    idle_since: float | None = None

    def take(self, job: dict[str, Any], descriptors: Sequence[int]) -> None:
        """Hand a job on: its connection, what it reads and writes, and what to do."""
        socket.send_fds(self.channel, [b"\0"], descriptors)
        self.channel.sendall(f"{json.dumps(job)}\n".encode())
        self.idle_since = None


class Server:
    """A process that imports and forks, and never does a job's work itself."""

    def __init__(self, listener: socket.socket, idle_s: float) -> None:
        self.listener = listener
        self.idle_s = idle_s
        self.pid = os.getpid()
        self.identity = identity()
        self.environment: dict[str, str] | None = None
        self.children: set[int] = set()
        self.residents: list[Resident] = []

    def turn(self) -> bool:
        """Wait for a call, news of a resident or the owner's end; False after the last."""
        channels = [resident.channel for resident in self.residents]
        ready, _, _ = select.select([0, self.listener, *channels], [], [], 1.0 if self.children else None)
        for resident in [each for each in self.residents if each.channel in ready]:
            self.hear(resident)
        for resident in self.idle():
            if time.monotonic() - resident.idle_since > self.idle_s:
                self.dismiss(resident)
        self.children = {child for child in self.children if os.waitpid(child, os.WNOHANG) == (0, 0)}
        if 0 in ready:
            return False
        if self.listener in ready:
            connection, _ = self.listener.accept()
            with connection, suppress(OSError, ValueError):
                self.answer(connection)
        return True

    def idle(self) -> list[Resident]:
        """The residents that wait for a job."""
        return [resident for resident in self.residents if resident.idle_since is not None]

    def hear(self, resident: Resident) -> None:
        """A resident has become idle, or is gone."""
        resident.idle_since = time.monotonic()
        with suppress(OSError):
            if resident.channel.recv(1) and resident.home is not None:
                return
        self.dismiss(resident)

    def dismiss(self, resident: Resident) -> None:
        """Let a resident end that does no job."""
        self.residents.remove(resident)
        resident.channel.close()

    def answer(self, connection: socket.socket) -> None:
        """Hand one call on, or close the connection, upon which the job helps itself."""
        connection.settimeout(_PATIENCE_S)
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
        try:
            with connection.makefile(encoding="utf-8") as lines:
                caller, request = json.loads(lines.readline()), json.loads(lines.readline())
            connection.settimeout(None)
            if caller.pop("identity") == self.identity and self.is_ready(caller["environment"], request):
                self.give({**caller, **request}, [connection.fileno(), *descriptors])
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def is_ready(self, environment: dict[str, str], request: dict[str, Any]) -> bool:
        """Import what the request needs, in the environment of the first call; whether a fork is then harmless."""
        lasting = {name: value for name, value in environment.items() if not name.startswith(OF_A_STEP)}
        if self.environment is None:
            self.environment = lasting
            os.environ.clear()
            os.environ.update(environment | ONE_THREAD)
        if lasting != self.environment:
            return False
        prepare(request)
        return len(os.listdir("/proc/self/task")) == 1 and not _has_device()

    def give(self, job: dict[str, Any], descriptors: Sequence[int]) -> None:
        """Let an idle resident of the job's home do it, or a new one."""
        for resident in self.idle():
            if resident.home != job["home"]:
                self.dismiss(resident)
        for resident in self.idle():
            with suppress(OSError):
                return resident.take(job, descriptors)
            self.dismiss(resident)  # it has died meanwhile
        self.fork(job["home"], descriptors).take(job, descriptors)

    def fork(self, home: str | None, descriptors: Sequence[int]) -> Resident:
        """A new resident; `descriptors` are open here and mean nothing to it."""
        here, there = socket.socketpair()
        if child := os.fork():
            self.children.add(child)
            there.close()
            here.settimeout(_PATIENCE_S)
            self.residents.append(Resident(here, home))
            return self.residents[-1]
        try:
            for one in (self.listener, here, *(resident.channel for resident in self.residents)):
                one.close()
            for descriptor in descriptors:
                os.close(descriptor)
            _reside(self.pid, there)
        finally:
            os._exit(0)


def _has_device() -> bool:
    """Whether an import has opened an accelerator, which no fork could use."""
    links = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return any(link.startswith(_DEVICES) for link in links)


def _reside(server: int, channel: socket.socket) -> None:
    """In a fork of process `server`: do the jobs of the channel, until it is closed or one of them does not succeed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        return
    while True:
        _, descriptors, _, _ = socket.recv_fds(channel, 1, 4)
        with channel.makefile(encoding="utf-8") as lines:
            line = lines.readline()
        if not line.endswith("\n"):
            return
        with socket.socket(fileno=descriptors[0]) as connection:
            code = _work(json.loads(line), connection, descriptors[1:])
            if code == 0:
                channel.sendall(b"\0")  # before the job can end, so that the next one finds this process idle
            connection.sendall(str(code).encode())
        if code:
            return


def _work(job: dict[str, Any], connection: socket.socket, descriptors: Sequence[int]) -> int:
    """Do a job's work as its own process would, give back all that is the job's, and return its exit code."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    connection.sendall(b"\0")
    is_done = threading.Event()
    watch = threading.Thread(target=_end_with, args=[connection, is_done], daemon=True)
    watch.start()
    code = _exit_code(job)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    is_done.set()
    connection.shutdown(socket.SHUT_RD)
    watch.join()
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with open(os.devnull, "r+b") as nothing:
        for number in range(len(descriptors)):
            os.dup2(nothing.fileno(), number)
    return code


def _exit_code(job: dict[str, Any]) -> int:
    """Run the function; the exit code that an interpreter of its own would have had."""
    try:
        perform(job)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end_with(connection: socket.socket, is_done: threading.Event) -> None:
    """When the job is gone, interrupt this process, so that it removes what is half-written, then end it."""
    with suppress(OSError):
        connection.recv(1)
    if is_done.is_set():
        return
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(_GRACE_S)
    os._exit(1)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]), float(sys.argv[3]))
