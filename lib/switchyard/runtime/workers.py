"""Workers: processes that import once and load a model once, then do one job after the other.

`call`, in a job, has its work done by an idle worker, or by a new one if none is idle, so that there are never more
workers than jobs at once. An idle worker is a socket in the run's folder; its name says what the worker is and what it
has loaded, and a job takes it by renaming it. New ones are started by the process that schedules the jobs (`start`):
what a job starts may end with the job. A worker ends with that process, with its job, after a failure, and when it has
been idle for some seconds, longer where it holds a large model. Where no worker can be had, the job does its own work,
and its log says why: the same result, only later.
"""

from __future__ import annotations

import atexit
import gc
import hashlib
import importlib
import io
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path
from typing import Any, NoReturn

from switchyard.runtime.log import logged

VARIABLE = "SWITCHYARD_WORKERS"
"""Environment variable of jobs: the folder of their run's sockets, which only its user can enter."""

KILLED = "the process that did this job's work was killed"

IDLE_S = 5.0
"""How long an idle worker keeps its memory: a scheduler takes a second or two to start the next job."""

LOADED_BYTES_PER_S = 0.5e9
"""Large weights from a disk: a worker waits as long for a next job as it would take to load them again."""

OF_A_STEP = ("SLURM_", "SLURMD_", "SRUN_")
"""Variables that differ between the steps of one job of a cluster, and mean nothing to its work."""

SELDOM = (50_000, 20, 100)
"""Thresholds of the garbage collector: with the default ones it takes a fifth of the time of importing torch."""

_GRACE_S = 1.0


def call(
    function: str,
    arguments: dict[str, Any],
    *,
    log: str | Path,
    home: str = "",
    loads: str | Path | None = None,
) -> None:
    """Run `function` (`module:name`) on `arguments`, in a worker if possible.

    Args:
        arguments: anything JSON can hold, and paths, which arrive as strings.
        log: the job's log (`runtime.log.logged`); warnings and errors stand there, wherever the function runs.
        home: names what the function loads and keeps; a worker whose last job was of this home comes first.
        loads: the folder of the weights that it keeps.

    Raises:
        SystemExit: the function failed, as the log says, or the worker was killed.
    """
    request = json.dumps({"function": function, "arguments": arguments, "log": log}, default=os.fspath)
    if VARIABLE not in os.environ:
        perform(json.loads(request))
    elif why := _not_done_by_worker(request, hashed(home), log, seconds_to_load(loads)):
        perform(json.loads(request), f"no worker could be had ({why}), the job does its own work")


def call_for(job: Any, function: str, arguments: dict[str, Any], *, dtype: str) -> None:
    """`call` for a job of Snakemake that runs the model `input.model` with weights in `dtype`.

    Args:
        job: the object `snakemake` of a script. Its model, memory of a card, and fingerprint are further arguments of
            the function.
        function: see `call`.
        arguments: see `call`.
    """
    model = job.input.model
    own = {"model": model, "gpu_mem_gb": job.resources.gpu_mem_gb, "code": job.params.code}
    call(function, {**arguments, **own}, log=job.log[0], home=f"{model} {dtype}", loads=model)


def seconds_to_load(folder: str | Path | None) -> float:
    """About how many seconds it takes to load the weights of a model folder; 0 without one."""
    files = Path(folder).glob("*.safetensors") if folder else ()
    return sum(file.stat().st_size for file in files) / LOADED_BYTES_PER_S


def perform(request: dict[str, Any], note: str = "") -> None:
    """Run the function of a call in this process; `note` is the first line of its log."""
    gc.set_threshold(*SELDOM)
    with logged(request["log"]):
        if note:
            logging.getLogger(__name__).info(note)
        module, _, name = request["function"].partition(":")
        getattr(importlib.import_module(module), name)(**request["arguments"])


def hashed(value: object) -> str:
    """A short name for anything JSON can hold."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def identity() -> str:
    """What a job and its worker have in common: mounts, interpreter, environment, this library's files and times."""
    files = sorted((str(path), path.stat().st_mtime_ns) for path in Path(__file__).parents[1].rglob("*.py"))
    lasting = {name: value for name, value in os.environ.items() if not name.startswith(OF_A_STEP)}
    return hashed([os.readlink("/proc/self/ns/mnt"), sys.executable, sys.prefix, sys.version, files, lasting])


def _not_done_by_worker(request: str, home: str, log: str | Path, idle_s: float) -> str | None:
    """Why no worker began the work; None where one did it, its output printed here."""
    folder, key, has_begun = Path(os.environ[VARIABLE]), identity(), False
    job = {"identity": key, "home": home, "folder": os.getcwd(), "environment": dict(os.environ)}
    job["idle_s"] = idle_s
    job["terminals"] = [name for name in ("stdout", "stderr") if getattr(sys, name).isatty()]
    try:
        with _idle_worker(folder, key, home) or _new_worker(folder) as worker:
            worker.send_bytes(json.dumps(job | json.loads(request)).encode())
            while True:
                stream, said = json.loads(worker.recv_bytes())
                has_begun = True
                if stream is None:
                    break
                with suppress(OSError):
                    print(said, end="", file=getattr(sys, stream), flush=True)
    except (OSError, EOFError) as error:
        if not has_begun:
            return _why(error, folder)
        with Path(log).open("a", encoding="utf-8") as file:
            print(KILLED, file=file)
        said = KILLED
    if said:
        raise SystemExit(said)
    return None


def _why(error: OSError | EOFError, folder: Path) -> str:
    """One line for what ended the talk with a worker, or with the owner of the folder, before the work began."""
    if isinstance(error, EOFError | ConnectionResetError | BrokenPipeError):
        return (
            "one came and ended before it began: it could not start, or its mounts, interpreter, environment or "
            "library are not those of the job"
        )
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return f"the process that starts them has ended, or {folder} is not of this machine"
    return f"{folder}: {error.strerror or error}"


def _idle_worker(folder: Path, key: str, home: str) -> Connection | None:
    """An idle worker that is like this process, by preference of the same home; the others of another home end."""
    taken, same = None, f"{key}.{home}.*"
    for place in sorted(folder.glob("*.*.*"), key=lambda place: not place.match(same)):
        if not (taken and place.match(same)):
            with suppress(OSError):
                worker = Client(str(place.rename(folder / place.suffix[1:])))
                if taken or not place.match(f"{key}.*"):
                    worker.close()
                else:
                    taken = worker
    return taken


def _new_worker(folder: Path) -> Connection:
    """A worker with this process's environment, started by the owner of the folder."""
    worker = Client(str(folder / "owner"))
    command = [sys.executable, "-P", "-m", "switchyard.runtime.workers"]
    worker.send_bytes(json.dumps({"args": command, "env": dict(os.environ), "cwd": os.getcwd()}).encode())
    return worker


def start(*, idle_s: float = IDLE_S) -> None:
    """Let jobs have workers for as long as this process lives."""
    os.environ.pop(VARIABLE, None)
    if sys.platform != "linux":
        return
    folder = Path(tempfile.mkdtemp(prefix="switchyard-"))
    try:
        listener = Listener(str(folder / "owner"), backlog=128)
    except OSError:  # its path is too long for a socket: a job meets the same error, and its log says so
        folder.rmdir()
        os.environ[VARIABLE] = str(folder)
        return
    # The end of this pipe tells workers that this process has ended: nobody else has the other end.
    lifeline, held = os.pipe()
    workers: list[subprocess.Popen] = []
    atexit.register(_stop, folder, listener, held, workers)
    words = [str(lifeline), str(folder), str(idle_s)]
    threading.Thread(target=_start_workers, args=[listener, words, workers], daemon=True).start()
    os.environ[VARIABLE] = str(folder)


def _start_workers(listener: Listener, words: list[str], workers: list[subprocess.Popen]) -> NoReturn:
    """In a thread of the owner: start a worker for each connection, which it inherits."""
    with listener:
        while True:
            with listener.accept() as job, suppress(OSError, EOFError):
                program = json.loads(job.recv_bytes())
                program["args"] += [str(job.fileno()), *words]
                program["pass_fds"] = [job.fileno(), int(words[0])]
                workers[:] = [worker for worker in workers if worker.poll() is None]
                workers.append(subprocess.Popen(**program, stdin=subprocess.DEVNULL, start_new_session=True))


def _stop(folder: Path, listener: Listener, held: int, workers: list[subprocess.Popen]) -> None:
    listener.close()
    os.close(held)
    for worker in workers:
        with suppress(subprocess.TimeoutExpired):
            worker.wait(timeout=2 * _GRACE_S)
    shutil.rmtree(folder, ignore_errors=True)


class Worker:
    """The process that does the work of jobs."""

    def __init__(self, folder: Path, idle_s: float) -> None:
        self.folder, self.identity = folder, identity()
        self.idle_s = self.patience_s = idle_s
        self.busy = self.idle = folder / str(os.getpid())
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.busy))
        self.listener.listen()
        self.sending = threading.Lock()
        self.outputs = {name: Output(self, name) for name in ("stdout", "stderr")}

    def do(self, job: Connection) -> bool:
        """Do a job; returns whether it succeeded."""
        request = json.loads(job.recv_bytes())
        if request["identity"] != self.identity:
            return False
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        self.patience_s = max(self.idle_s, request["idle_s"])
        self.job, self.terminals = job, request["terminals"]
        sys.stdout = sys.__stdout__ = self.outputs["stdout"]
        sys.stderr = sys.__stderr__ = self.outputs["stderr"]
        self.send("stdout", "")  # the job is no longer to do its own work
        is_done = threading.Event()
        watch = threading.Thread(target=_end_with, args=[job, is_done], daemon=True)
        watch.start()
        code = None
        try:
            perform(request)
        except SystemExit as end:
            code = end.code
        is_done.set()
        logging.basicConfig(handlers=[logging.NullHandler()], force=True)
        if not code:  # before the job can end, so that the next one finds this process idle
            self.idle = self.folder / f"{self.identity}.{request['home']}.{self.busy.name}"
            self.busy.rename(self.idle)
        self.send(None, code)
        watch.join()
        job.close()
        return not code

    def send(self, stream: str | None, said: Any) -> None:
        """Have the job print something, or end."""
        with suppress(OSError), self.sending:
            self.job.send_bytes(json.dumps([stream, said]).encode())

    def next(self) -> Connection | None:
        """The next job; None where none comes in time."""
        for patience_s in (self.patience_s, _GRACE_S):  # a job may have taken this worker at the last moment
            self.listener.settimeout(patience_s)
            with suppress(TimeoutError):
                return Connection(self.listener.accept()[0].detach())
            self.idle.unlink(missing_ok=True)
        return None


class Output(io.TextIOBase):
    """What a worker prints: its job prints it."""

    encoding = "utf-8"

    def __init__(self, worker: Worker, name: str) -> None:
        self.worker, self.name = worker, name

    def isatty(self) -> bool:
        """Whether the job's own stream of this name is a terminal."""
        return self.name in self.worker.terminals

    def write(self, text: str) -> int:
        """Send text to the job; returns its number of characters."""
        self.worker.send(self.name, text)
        return len(text)


def _end_with(other: Connection | int, is_done: threading.Event) -> None:
    """When the other side is gone, interrupt this process, so that it removes what is half-written, then end it."""
    wait([other])
    if not is_done.is_set():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(_GRACE_S)
        os._exit(1)


def main(job: int, lifeline: int, folder: Path, idle_s: float) -> NoReturn:
    """In a worker: do the job of an inherited connection, then others while they come."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    threading.Thread(target=_end_with, args=[lifeline, threading.Event()], daemon=True).start()
    worker, connection = Worker(folder, idle_s), Connection(job)
    try:
        while connection and worker.do(connection):
            connection = worker.next()
    finally:
        worker.busy.unlink(missing_ok=True)
        if wait([lifeline], timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
