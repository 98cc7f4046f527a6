"""A warm process: the libraries that every experiment needs are imported once, and each job is a forked copy.

`start` begins a server for the run of a workflow, in the process that schedules its jobs; `call`, in a job, runs a
function in a fork of that server. Where there is none, or it would not be the same as here (another machine,
interpreter, environment, or version of this library; more threads than one, which a fork would lose), the function
runs in the job's own process: the same result, only later. The server ends with the process that started it, a fork
with its server or its job, whatever ended those.

Imports little, and only the standard library and `switchyard.job`: every job imports it.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from switchyard.job import logged

VARIABLE = "SWITCHYARD_WARM"
"""Environment variable of jobs: the socket of their run's server."""

ONE_THREAD = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""For the server alone: pyarrow's spare allocator would start a thread as it is imported."""

KILLED = "the process that did this job's work was killed"

_DEVICES = ("/dev/nvidia", "/dev/kfd", "/dev/dri")
_PATIENCE_S = 10.0
_GRACE_S = 1.0
_PR_SET_PDEATHSIG = 1


def call(function: str, arguments: dict[str, Any], *, log: str | Path, prepare: str | None = None) -> None:
    """Run `function` (`module:name`) on `arguments`, in a fork of the warm server where there is one.

    Args:
        arguments: anything JSON can hold, and paths, which arrive as strings.
        log: the job's log (`switchyard.job.logged`); warnings and errors stand there, wherever the function runs.
        prepare: a function of the same arguments that only imports; called first, in the server before it forks.

    Raises:
        SystemExit: the function failed, as the log says, or the process that ran it was killed.
    """
    request = {"function": function, "arguments": arguments, "log": log, "prepare": prepare}
    content = json.dumps(request, default=os.fspath)
    code = _call_server(content, log) if VARIABLE in os.environ else None
    if code is None:
        _perform(json.loads(content))
    elif code:
        raise SystemExit(code)


def _call_server(content: str, log: str | Path) -> int | None:
    """The exit code of a fork that ran the request; None where none began to."""
    sys.stdout.flush()
    sys.stderr.flush()
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(os.environ[VARIABLE])
            socket.send_fds(connection, [b"\0"], [0, 1, 2])
            caller = {"identity": identity(), "environment": dict(os.environ), "folder": os.getcwd()}
            connection.sendall(f"{json.dumps(caller)}\n{content}\n".encode())
            begun = connection.recv(1)
        except OSError:
            return None
        if not begun:
            return None
        with suppress(OSError):
            if outcome := connection.recv(16):
                return int(outcome)
    with Path(log).open("a", encoding="utf-8") as file:
        print(KILLED, file=file)
    print(KILLED, file=sys.stderr)
    return 1


def _perform(request: dict[str, Any]) -> None:
    with logged(request["log"]):
        if "prepare" in request:
            _import(request)
        _named(request["function"])(**request["arguments"])


def _import(request: dict[str, Any]) -> None:
    """Import what the request needs, and keep the collector from ever looking at it.

    What is imported stays. The collector would go through all of it, time and again, for a fifth of the import's time;
    in a fork it would also write to the pages that are shared with the server.
    """
    gc.disable()
    with suppress(Exception):  # the work will meet it too, and say so in the job's log
        _named(request["function"])
        if prepare := request.pop("prepare"):
            _named(prepare)(**request["arguments"])
    gc.freeze()
    gc.enable()


def _named(function: str) -> Callable[..., Any]:
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)


def identity() -> list[Any]:
    """What a job and a server must have in common: mounts, interpreter, and this library down to its files' times."""
    root = Path(__file__).resolve().parent
    files = sorted((str(path), path.stat().st_mtime_ns) for path in root.rglob("*.py"))
    return [os.readlink("/proc/self/ns/mnt"), sys.executable, sys.prefix, sys.version, list(map(list, files))]


def start() -> subprocess.Popen | None:
    """Start a server that lives as long as this process, and name it to all jobs; None where there can be none."""
    os.environ.pop(VARIABLE, None)
    if sys.platform != "linux":
        return None
    folder = Path(tempfile.mkdtemp(prefix="switchyard-"))
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(str(folder / "socket"))
            listener.listen(128)
            # The end of its input tells the server that this process has ended: nobody else has the pipe's other end.
            server = subprocess.Popen(
                [sys.executable, "-P", "-m", "switchyard.warm", str(listener.fileno()), str(folder)],
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            return None
    os.environ[VARIABLE] = str(folder / "socket")
    atexit.register(stop, server, folder)
    return server


def stop(server: subprocess.Popen, folder: Path) -> None:
    """End a server that `start` has returned, also one that is busy importing."""
    server.stdin.close()
    try:
        server.wait(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    shutil.rmtree(folder, ignore_errors=True)


def serve(listener: socket.socket, folder: Path) -> NoReturn:
    """Fork for every job that calls, until standard input ends; then remove `folder`."""
    server = Server(listener)
    try:
        while server.turn():
            pass
    except Exception:
        traceback.print_exc()
    finally:
        if os.getpid() == server.pid:
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


class Server:
    """A process that imports and forks, and never does a job's work itself."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.pid = os.getpid()
        self.identity = identity()
        self.environment: dict[str, str] | None = None
        self.children: set[int] = set()

    def turn(self) -> bool:
        """Wait for a call, a child's end or the owner's end; False after the last."""
        ready, _, _ = select.select([0, self.listener], [], [], 1.0 if self.children else None)
        self.children = {child for child in self.children if os.waitpid(child, os.WNOHANG) == (0, 0)}
        if 0 in ready:
            return False
        if ready:
            connection, _ = self.listener.accept()
            with connection, suppress(OSError, ValueError):
                self.answer(connection)
        return True

    def answer(self, connection: socket.socket) -> None:
        """Fork for one call, or close the connection, upon which the job helps itself."""
        connection.settimeout(_PATIENCE_S)
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
        try:
            with connection.makefile(encoding="utf-8") as lines:
                caller, request = json.loads(lines.readline()), json.loads(lines.readline())
            connection.settimeout(None)
            if caller["identity"] != self.identity or not self.is_ready(caller["environment"], request):
                return
            if child := os.fork():
                self.children.add(child)
            else:
                self.listener.close()
                _work(self.pid, connection, descriptors, caller, request)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def is_ready(self, environment: dict[str, str], request: dict[str, Any]) -> bool:
        """Import what the request needs, in the environment of the first call; whether a fork is then harmless."""
        if self.environment is None:
            self.environment = environment
            os.environ.clear()
            os.environ.update(environment | ONE_THREAD)
        if environment != self.environment:
            return False
        _import(request)
        return len(os.listdir("/proc/self/task")) == 1 and not _has_device()


def _has_device() -> bool:
    """Whether an import has opened an accelerator, which no fork could use."""
    links = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return any(link.startswith(_DEVICES) for link in links)


def _work(
    server: int,
    connection: socket.socket,
    descriptors: list[int],
    caller: dict[str, Any],
    request: dict[str, Any],
) -> NoReturn:
    """Do a job's work in a fresh fork of process `server`, and end."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.chdir(caller["folder"])
        os.environ.clear()
        os.environ.update(caller["environment"])
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
        connection.sendall(b"\0")
        threading.Thread(target=_end_with, args=[connection], daemon=True).start()
        code = _exit_code(request)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(str(code).encode())
    finally:
        os._exit(code)


def _exit_code(request: dict[str, Any]) -> int:
    """Run the function; the exit code that an interpreter of its own would have had."""
    try:
        _perform(request)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end_with(connection: socket.socket) -> None:
    """When the job is gone, interrupt this process, so that it removes what is half-written, then end it."""
    with suppress(OSError):
        connection.recv(1)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(_GRACE_S)
    os._exit(1)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]))
