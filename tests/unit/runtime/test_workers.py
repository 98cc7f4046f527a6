"""A worker does what the job's own process would have done, and never outlives whom it serves."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from switchyard.runtime import workers

ROOT = Path(__file__).parents[3]

WORK = """
import json, logging, os, subprocess, sys, time
from pathlib import Path
from switchyard.errors import InputError

DONE = []

def say(text):
    DONE.append(text)
    print(text)
    print(text.upper(), file=sys.stderr)
    logging.getLogger("switchyard.work").warning("logged")
    facts = [os.getpid(), len(DONE), os.getcwd(), os.environ.get("SLURM_STEP_ID"), os.environ.get("COLOUR")]
    Path("said").write_text(json.dumps([*facts, subprocess.run(["true"]).returncode, sys.__stderr__.isatty()]))

def refuse(text):
    raise InputError(text)

def stumble():
    return 1 // 0

def leave(code):
    sys.exit(code)

def wait(is_stubborn=False):
    half = Path("note.part")
    half.touch()
    Path("note").write_text(str(os.getpid()))
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(60 if is_stubborn else 0)
        raise
    finally:
        half.unlink()

def meet(mine, other):
    Path(mine).write_text(str(os.getpid()))
    for _ in range(500):
        if Path(other).exists():
            return
        time.sleep(0.02)
    raise InputError("nobody came")
"""

OWNER = """
import os, sys, time
from switchyard.runtime import workers
workers.start(idle_s=float(sys.argv[1]))
print(os.environ[workers.VARIABLE], flush=True)
sys.stdin.read()
"""

JOB = """
import json, sys
from switchyard.runtime.workers import call
call(sys.argv[1], json.loads(sys.argv[2]), log="log", home=sys.argv[3], loads=sys.argv[4] if sys.argv[4:] else None)
"""


class Run:
    """A process that schedules, and the jobs that it starts, in a folder of their own."""

    def __init__(self, folder: Path, idle_s: float = 600.0) -> None:
        self.folder, self.temporary = folder, folder / "t"
        self.temporary.mkdir(parents=True)
        (folder / "work.py").write_text(WORK)
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != workers.VARIABLE},
            "PYTHONPATH": f"{ROOT / 'lib'}:{folder}",
            "TMPDIR": str(self.temporary),
            "SWITCHYARD_CHECKOUT": str(folder),
            "OMP_NUM_THREADS": "1",
        }
        self.owner = self.start(OWNER, str(idle_s))
        self.environment[workers.VARIABLE] = self.owner.stdout.readline().strip()

    def start(self, program: str, *words: str, **streams: Any) -> subprocess.Popen[str]:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | streams
        command = [sys.executable, "-c", program, *words]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, text=True, **pipes)

    def job(
        self, function: str, home: str = "here", loads: str | None = None, **arguments: Any
    ) -> subprocess.Popen:
        return self.start(JOB, function, json.dumps(arguments), home, *([loads] if loads else []))

    def end(
        self, function: str, home: str = "here", loads: str | None = None, **arguments: Any
    ) -> tuple[int, str, str, str]:
        """Exit code, stdout, stderr and log of a job."""
        job = self.job(function, home, loads, **arguments)
        out, error = job.communicate(timeout=120)
        return job.returncode, out, error, (self.folder / "log").read_text()

    def say(self, text: str = "word", home: str = "here", loads: str | None = None) -> list[Any]:
        """Who worked, how many jobs that process has done, and what it saw."""
        *ended, log = self.end("work:say", home, loads, text=text)
        assert ended == [0, f"{text}\n", f"{text.upper()}\n"]
        assert re.fullmatch(r"(no worker could be had \(.+\), the job does its own work\n)?logged\n", log)
        return self.said()

    def said(self) -> list[Any]:
        return json.loads((self.folder / "said").read_text())

    def waiting(self, **arguments: Any) -> tuple[subprocess.Popen, psutil.Process]:
        """A job in the middle of its work, and the process that does it."""
        note = self.folder / "note"
        job = self.job("work:wait", **arguments)
        wait_for(lambda: note.is_file() and note.read_text())
        return job, psutil.Process(int(note.read_text()))

    def workers(self) -> list[psutil.Process]:
        return [each for each in psutil.Process(self.owner.pid).children() if not is_gone(each)]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path / "run")
    yield run
    left = run.workers() if run.owner.poll() is None else []
    run.owner.kill()
    run.owner.wait()
    wait_for(lambda: all(map(is_gone, left)))


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited 30 s in vain"
        time.sleep(0.02)


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_one_worker_does_one_job_after_the_other_as_each_asks(run: Run) -> None:
    pid, *first = run.say("one")
    assert first == [1, str(run.folder), None, None, 0, False]
    run.environment["SLURM_STEP_ID"] = "2"  # differs between the steps of a job
    run.folder /= "other"
    run.folder.mkdir()
    assert run.say("two") == [pid, 2, str(run.folder), "2", None, 0, False]
    assert [each.pid for each in run.workers()] == [pid]
    assert not any(file.path.endswith("log") for file in run.workers()[0].open_files())
    assert run.workers()[0].environ()["SWITCHYARD_CHECKOUT"] == run.environment["SWITCHYARD_CHECKOUT"]


def test_the_worker_of_a_job_on_a_terminal_draws_for_one(run: Run) -> None:
    run.say()
    master, terminal = pty.openpty()
    job = run.start(JOB, "work:say", '{"text": "word"}', "here", stderr=terminal)
    assert job.wait(timeout=60) == 0 and run.said()[-1] is True
    assert os.read(master, 100) == b"WORD\r\n"


ENDINGS = ["refuse", {"text": "models: none;\n  fetch one"}], ["stumble", {}], ["missing", {}]
LEFT = [["leave", {"code": code}] for code in (0, 7, "no")]


@pytest.mark.parametrize(("function", "arguments"), [*ENDINGS, *LEFT])
def test_every_ending_is_that_of_a_job_alone_and_a_failure_ends_the_worker(
    run: Run, function: str, arguments: dict[str, Any]
) -> None:
    ended = run.end(f"work:{function}", **arguments)
    wait_for(lambda: bool(run.workers()) == (ended[0] == 0))
    del run.environment[workers.VARIABLE]
    assert ended == run.end(f"work:{function}", **arguments)


def test_jobs_at_once_have_a_worker_each_and_another_home_ends_all_but_one(run: Run) -> None:
    jobs = [run.job("work:meet", mine="a", other="b"), run.job("work:meet", mine="b", other="a")]
    assert [job.wait(timeout=60) for job in jobs] == [0, 0]
    both = {int((run.folder / name).read_text()) for name in ("a", "b")}
    assert len(both) == 2 and run.say()[0] in both
    assert {each.pid for each in run.workers()} == both
    pid = run.say(home="there")[0]
    assert pid in both
    wait_for(lambda: [each.pid for each in run.workers()] == [pid])


@pytest.mark.parametrize("is_stubborn", [False, True])
def test_a_killed_job_takes_its_worker_along(run: Run, is_stubborn: bool) -> None:
    pid = run.say()[0]
    job, worker = run.waiting(is_stubborn=is_stubborn)
    job.kill()
    wait_for(lambda: is_gone(worker))
    assert (run.folder / "note.part").exists() == is_stubborn  # one second to remove what is half-written
    assert worker.pid == pid != run.say()[0]


def test_a_killed_worker_fails_its_job_and_no_other(run: Run) -> None:
    job, worker = run.waiting()
    worker.kill()
    assert (job.communicate(timeout=30)[1], job.returncode) == (f"{workers.KILLED}\n", 1)
    assert (run.folder / "log").read_text() == f"{workers.KILLED}\n"
    idle = psutil.Process(run.say()[0])
    idle.kill()
    assert run.say()[1] == 1


def test_a_job_whose_worker_dies_before_it_begins_is_done_once(run: Run) -> None:
    idle = psutil.Process(run.say()[0])
    idle.suspend()
    job = run.job("work:say", text="word")
    wait_for(lambda: psutil.Process(job.pid).net_connections("unix"))
    idle.kill()
    assert job.wait(timeout=30) == 0
    assert run.said()[1] == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, None])
def test_workers_end_with_the_run(run: Run, number: int | None) -> None:
    job, busy = run.waiting()
    idle = psutil.Process(run.say()[0])
    run.owner.send_signal(number) if number else run.owner.communicate()
    wait_for(lambda: is_gone(busy) and is_gone(idle))
    assert job.wait(timeout=30) == 1
    assert not (run.folder / "note.part").exists()
    wait_for(lambda: not list(run.temporary.iterdir()))
    assert run.say()[1] == 1  # in the job's own process


def test_another_environment_or_library_has_a_worker_of_its_own(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "lib" / "switchyard"
    shutil.copytree(ROOT / "lib" / "switchyard", copy)
    run.environment["PYTHONPATH"] = f"{copy.parent}:{run.folder}"
    pids = [run.say()[0]]
    run.environment["COLOUR"] = "red"
    pids.append(run.say()[0])
    assert run.said()[4] == "red"
    os.utime(copy / "errors.py")
    pids.append(run.say()[0])
    assert len({*pids}) == 3
    wait_for(lambda: [each.pid for each in run.workers()] == pids[2:])


def test_a_job_that_no_worker_can_be_like_does_its_own_work(run: Run) -> None:
    other = "import switchyard.runtime.workers as workers; workers.identity = lambda: 'other'"
    job = run.start(other + JOB, "work:say", '{"text": "word"}', "here")
    assert job.communicate(timeout=60) == ("word\n", "WORD\n") and job.returncode == 0
    assert run.said()[0] == job.pid
    why = "its mounts, interpreter, environment or library are not those of the job"
    assert why in (run.folder / "log").read_text().splitlines()[0]


def test_a_job_says_that_nobody_starts_workers(run: Run) -> None:
    run.owner.kill()
    run.owner.wait()
    assert run.end("work:say", text="word")[0] == 0
    why = f"the process that starts them has ended, or {run.environment[workers.VARIABLE]} is not of this machine"
    first = (run.folder / "log").read_text().splitlines()[0]
    assert first == f"no worker could be had ({why}), the job does its own work"


def test_a_job_says_that_sockets_cannot_lie_so_deep(tmp_path: Path) -> None:
    run = Run(tmp_path / ("deep" * 30))
    assert run.say()[1] == 1
    assert "AF_UNIX path too long" in (run.folder / "log").read_text().splitlines()[0]
    run.owner.communicate("")


def test_a_worker_with_a_large_model_waits_longer(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", idle_s=0.1)
    model = tmp_path / "model"
    model.mkdir()
    with (model / "a.safetensors").open("wb") as file:
        file.truncate(int(600 * workers.LOADED_BYTES_PER_S))  # takes no room on the disk
    assert workers.seconds_to_load(model) == 600
    assert workers.seconds_to_load(None) == 0
    pid = run.say(loads=str(model))[0]
    time.sleep(1.5 + workers._GRACE_S)
    assert run.say(loads=None)[:2] == [pid, 2]  # from now on as short as any
    wait_for(lambda: not run.workers())
    run.owner.communicate("")


def test_an_idle_worker_ends_by_itself(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", idle_s=0.1)
    run.say()
    wait_for(lambda: not run.workers())
    assert run.say()[1] == 1
    run.owner.communicate("")
