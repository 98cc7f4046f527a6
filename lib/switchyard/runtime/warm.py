"""A warm process: the libraries that every experiment needs are imported once, a model is loaded once, not per job.

`start` begins a server (`switchyard.runtime.residents`) for a workflow, in the process that schedules its jobs;
`call`, in a job, runs a function in a fork of that server, or in one that has done such a job before and still holds
what it loaded. Where there is no server, or it would not be the same as here (another machine, interpreter,
environment, or version of this library; more threads than one, which a fork would lose), the function runs in the
job's own process: the same result, only later. The server ends with the process that started it, a fork with its
server or its job, whatever ended those.

Imports little, and only the standard library and `switchyard.runtime.log`: every job imports it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from switchyard.runtime.log import logged

VARIABLE = "SWITCHYARD_WARM"
"""Environment variable of jobs: the socket of their run's server."""

KILLED = "the process that did this job's work was killed"

IDLE_S = 5.0
"""How long a process keeps what it has loaded for a next job: a scheduler takes a second or two to start one."""

_GRACE_S = 1.0


def call(
    function: str,
    arguments: dict[str, Any],
    *,
    log: str | Path,
    prepare: str | None = None,
    home: str | None = None,
) -> None:
    """Run `function` (`module:name`) on `arguments`, in a fork of the warm server where there is one.

    Args:
        arguments: anything JSON can hold, and paths, which arrive as strings.
        log: the job's log (`runtime.log.logged`); warnings and errors stand there, wherever the function runs.
        prepare: a function of the same arguments that only imports; called first, in the server before it forks.
        home: names what the function loads and may keep in its process; once it has succeeded there, the next call of
            this home finds it. None for a fork of its own.

    Raises:
        SystemExit: the function failed, as the log says, or the process that ran it was killed.
    """
    request = {"function": function, "arguments": arguments, "log": log, "prepare": prepare, "home": home}
    content = json.dumps(request, default=os.fspath)
    code = _call_server(content, log) if VARIABLE in os.environ else None
    if code is None:
        perform(json.loads(content))
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


def perform(request: dict[str, Any]) -> None:
    """Run the function of a call in this process."""
    with logged(request["log"]):
        if "prepare" in request:
            prepare(request)
        _named(request["function"])(**request["arguments"])


def prepare(request: dict[str, Any]) -> None:
    """Import what the call needs, once, and keep the collector from ever looking at it.

    What is imported stays. The collector would go through all of it, time and again, for a fifth of the import's time;
    in a fork it would also write to the pages that are shared with the server.
    """
    gc.disable()
    with suppress(Exception):  # the work will meet it too, and say so in the job's log
        _named(request["function"])
        if function := request.pop("prepare"):
            _named(function)(**request["arguments"])
    gc.freeze()
    gc.enable()


def _named(function: str) -> Callable[..., Any]:
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)


def identity() -> list[Any]:
    """What a job and a server must have in common: mounts, interpreter, and this library down to its files' times."""
    root = Path(__file__).resolve().parents[1]
    files = sorted((str(path), path.stat().st_mtime_ns) for path in root.rglob("*.py"))
    return [os.readlink("/proc/self/ns/mnt"), sys.executable, sys.prefix, sys.version, list(map(list, files))]


def start(*, idle_s: float = IDLE_S) -> subprocess.Popen | None:
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
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "switchyard.runtime.residents",
                    str(listener.fileno()),
                    str(folder),
                    str(idle_s),
                ],
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
