"""The warm process does what the job's own process would have done, and never outlives whom it serves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
import torch

from reference.tiny import WORDS, tiny_model, tiny_tokenizer
from switchyard.artifacts.files import write_json, write_table
from switchyard.evaluation import job as evaluation
from switchyard.launcher import recover
from switchyard.models.blocks import describe
from switchyard.runtime import warm

ROOT = Path(__file__).parents[3]

WORK = """
import logging, os, subprocess, sys, time
from pathlib import Path
from switchyard.errors import InputError

IMPORTED_BY = os.getpid()

def prepare(**_):
    global PREPARED_BY
    PREPARED_BY = os.getpid()

def say(text, place):
    print(text)
    print(text.upper(), file=sys.stderr)
    logging.getLogger("switchyard.work").warning("logged")
    child = subprocess.run(["true"]).returncode
    Path(place).write_text(f"{os.getpid()} {IMPORTED_BY} {PREPARED_BY} {os.getcwd()} {child}")

def refuse(text):
    raise InputError(text)

def stumble():
    return 1 // 0

def leave(code):
    sys.exit(code)

def wait(note):
    half = Path(note + ".part")
    half.touch()
    Path(note).write_text(str(os.getpid()))
    try:
        time.sleep(60)
    finally:
        half.unlink()

def meet(mine, other):
    Path(mine).touch()
    for _ in range(500):
        if Path(other).exists():
            return
        time.sleep(0.02)
    raise InputError("nobody came")

DONE = []

def keep(place):
    DONE.append(place)
    Path(place).write_text(f"{os.getpid()} {len(DONE)}")

def spin():
    import threading
    threading.Thread(target=time.sleep, args=[60], daemon=True).start()
"""

OWNER = """
import sys, time
from switchyard.runtime import warm
server = warm.start(idle_s=float(sys.argv[1]))
import os
print(os.environ[warm.VARIABLE], server.pid, flush=True)
sys.stdin.read() if sys.argv[2:] == ["polite"] else time.sleep(120)
"""

JOB = """
import json, sys
from switchyard.runtime.warm import call
function = sys.argv[1]
prepare = f"{function.partition(':')[0]}:prepare"
call(function, json.loads(sys.argv[2]), log=sys.argv[3], prepare=prepare, home=sys.argv[4] or None)
"""


class Run:
    """A workflow run with its server, and the jobs that it starts, in a folder of their own."""

    def __init__(self, folder: Path, *words: str, idle_s: float = 600.0) -> None:
        self.folder, self.temporary = folder, folder / "temporary"
        self.temporary.mkdir(parents=True)
        (folder / "work.py").write_text(WORK)
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != warm.VARIABLE},
            "PYTHONPATH": f"{ROOT / 'lib'}:{folder}",
            "TMPDIR": str(self.temporary),
            "SWITCHYARD_CHECKOUT": str(folder),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self.owner = self._start(OWNER, str(idle_s), *words)
        socket, server = self.owner.stdout.readline().split()
        self.environment[warm.VARIABLE] = socket
        self.server = psutil.Process(int(server))

    def _start(self, program: str, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", program, *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def job(
        self, function: str, arguments: str = "{}", log: str = "job.log", home: str = ""
    ) -> subprocess.Popen[str]:
        return self._start(JOB, function, arguments, log, home)

    def end(self, function: str, arguments: str = "{}", home: str = "") -> tuple[int, str, str, str]:
        """Exit code, stdout, stderr and log of a job."""
        job = self.job(function, arguments, home=home)
        out, error = job.communicate(timeout=60)
        return job.returncode, out, error, (self.folder / "job.log").read_text()

    def kept(self, home: str = "here") -> tuple[int, int]:
        """Who worked for a job of this home, and how many jobs that process has done by now."""
        place = self.folder / "kept"
        place.unlink(missing_ok=True)
        assert self.end("work:keep", '{"place": "kept"}', home)[0] == 0
        worker, jobs = place.read_text().split()
        return int(worker), int(jobs)

    def waiting(self, home: str = "") -> tuple[subprocess.Popen[str], psutil.Process]:
        """A job in the middle of its work, and the process that does it."""
        note = self.folder / "note"
        note.unlink(missing_ok=True)
        job = self.job("work:wait", '{"note": "note"}', home=home)
        wait_for(lambda: note.is_file() and note.read_text())
        return job, psutil.Process(int(note.read_text()))

    def pids(self) -> tuple[int, int, int]:
        """Who worked, who had imported the work's module, and who had prepared it."""
        assert self.end("work:say", '{"text": "word", "place": "pids"}')[0] == 0
        worker, importer, preparer = (self.folder / "pids").read_text().split()[:3]
        return int(worker), int(importer), int(preparer)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run; its owner and, through it, everything else is killed at the end."""
    run = Run(tmp_path / "run")
    yield run
    run.owner.kill()
    run.owner.communicate()
    wait_for(lambda: is_gone(run.server))


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


def test_work_is_done_in_a_fork_that_writes_where_the_job_writes(run: Run) -> None:
    ended = run.end("work:say", '{"text": "word", "place": "place"}')
    assert ended == (0, "word\n", "WORD\n", "logged\n")
    worker, importer, preparer, folder, child = (run.folder / "place").read_text().split()
    assert int(importer) == int(preparer) == run.server.pid != int(worker)
    assert (folder, child) == (str(run.folder), "0")
    assert run.pids()[0] != int(worker)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("work:refuse", '{"text": "models: none;\\n  fetch one"}'),
        ("work:stumble", "{}"),
        ("work:leave", '{"code": 0}'),
        ("work:leave", '{"code": 7}'),
        ("work:leave", '{"code": "no"}'),
        ("work:missing", "{}"),
        ("missing:work", "{}"),
    ],
)
def test_every_ending_is_that_of_a_job_alone(run: Run, function: str, arguments: str) -> None:
    warm_end = run.end(function, arguments)
    del run.environment[warm.VARIABLE]
    assert warm_end == run.end(function, arguments)
    if function == "work:refuse":
        line = "switchyard: error: models: none; fetch one\n"
        assert warm_end == (1, "", line, line)


def test_two_jobs_work_at_once(run: Run) -> None:
    first = run.job("work:meet", '{"mine": "a", "other": "b"}')
    second = run.job("work:meet", '{"mine": "b", "other": "a"}')
    assert [job.wait(timeout=60) for job in (first, second)] == [0, 0]


def test_killed_job_takes_its_fork_along(run: Run) -> None:
    job, worker = run.waiting()
    assert worker.ppid() == run.server.pid
    job.kill()
    wait_for(lambda: is_gone(worker))
    assert not (run.folder / "note.part").exists()  # it had the time to remove what was half-written
    assert run.pids()[1] == run.server.pid
    wait_for(lambda: not run.server.children())  # no zombie either


def test_killed_fork_fails_its_job(run: Run) -> None:
    job, worker = run.waiting()
    worker.kill()
    _, error = job.communicate(timeout=30)
    assert (job.returncode, error) == (1, f"{warm.KILLED}\n")
    assert (run.folder / "job.log").read_text() == error
    assert run.pids()[1] == run.server.pid


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_server_and_forks_end_with_the_run(run: Run, number: int) -> None:
    job, worker = run.waiting()
    run.owner.send_signal(number)
    wait_for(lambda: is_gone(worker) and is_gone(run.server))
    assert job.wait(timeout=30) == 1
    wait_for(lambda: not list(run.temporary.iterdir()))


def test_run_that_ends_leaves_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", "polite")
    assert run.pids()[1] == run.server.pid
    run.owner.communicate(timeout=30)
    assert is_gone(run.server)
    assert not list(run.temporary.iterdir())


def test_killed_server_fails_the_job_under_way_and_leaves_the_next_to_itself(run: Run) -> None:
    job, worker = run.waiting()
    run.server.kill()
    wait_for(lambda: is_gone(worker))
    assert job.wait(timeout=30) == 1
    assert Path(run.environment[warm.VARIABLE]).exists()  # a stale socket
    del job
    worker_pid, importer, _ = _alone(run)
    assert worker_pid == importer


def _alone(run: Run) -> tuple[int, int, int]:
    """`Run.pids` where no server prepares."""
    run.folder.joinpath("work.py").write_text(WORK.replace("IMPORTED_BY =", "PREPARED_BY = IMPORTED_BY ="))
    return run.pids()


def test_other_environment_is_left_to_itself(run: Run) -> None:
    assert run.pids()[1] == run.server.pid
    run.environment["OMP_NUM_THREADS"] = "3"
    worker, importer, _ = _alone(run)
    assert worker == importer != run.server.pid


def test_other_code_is_left_to_itself(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "lib" / "switchyard"
    shutil.copytree(ROOT / "lib" / "switchyard", copy)
    run.environment["PYTHONPATH"] = f"{copy.parent}:{run.folder}"
    worker, importer, _ = _alone(run)
    assert worker == importer


def test_server_that_has_threads_forks_no_more(run: Run) -> None:
    (run.folder / "threads.py").write_text("from work import spin, stumble\nspin()\n")
    code, _, error, _ = run.end("threads:stumble")
    assert code == 1 and "ZeroDivisionError" in error
    assert run.server.num_threads() == 2
    worker, importer, _ = _alone(run)
    assert worker == importer


def test_two_runs_have_a_server_each(run: Run, tmp_path: Path) -> None:
    other = Run(tmp_path / "other")
    assert run.pids()[1] == run.server.pid
    assert other.pids()[1] == other.server.pid != run.server.pid
    other.owner.kill()
    other.owner.communicate()
    wait_for(lambda: is_gone(other.server))
    assert run.pids()[1] == run.server.pid


def test_server_that_does_not_end_is_an_orphan_like_any_other(run: Run) -> None:
    _, worker = run.waiting()
    run.server.suspend()
    run.owner.kill()
    run.owner.wait(timeout=30)
    assert not is_gone(run.server)
    ended = recover.end_orphans(run.folder.resolve())
    assert ended >= 2  # the server and the job; the fork falls with either
    assert is_gone(run.server) and is_gone(worker)


def test_next_job_of_a_home_finds_what_the_last_one_left(run: Run) -> None:
    worker, jobs = run.kept()
    assert jobs == 1
    assert [run.kept(), run.kept()] == [(worker, 2), (worker, 3)]
    assert run.pids()[0] != worker  # of no home


def test_every_job_of_a_resident_has_its_own_folder_output_and_log(run: Run) -> None:
    worker = run.kept()[0]
    other = run.folder / "other"
    other.mkdir()
    for text in ("one", "two"):
        arguments = json.dumps({"text": text, "place": "place"})
        ended = run.end("work:say", arguments, "here")
        assert ended == (0, f"{text}\n", f"{text.upper()}\n", "logged\n")
        assert (run.folder / "place").read_text().split()[0] == str(worker)
    home, run.folder = run.folder, other
    run.end("work:say", '{"text": "word", "place": "place"}', "here")
    assert (other / "place").read_text().split()[3] == str(other)
    assert (home / "job.log").read_text() == (other / "job.log").read_text() == "logged\n"
    (resident,) = run.server.children()
    assert all("/dev/null" in os.readlink(f"/proc/{resident.pid}/fd/{number}") for number in range(3))
    assert not any(file.path.endswith("job.log") for file in resident.open_files())


def test_jobs_at_once_have_a_resident_each_and_no_third(run: Run) -> None:
    first = run.job("work:meet", '{"mine": "a", "other": "b"}', home="here")
    second = run.job("work:meet", '{"mine": "b", "other": "a"}', home="here")
    assert [job.wait(timeout=60) for job in (first, second)] == [0, 0]
    residents = {child.pid for child in run.server.children()}
    assert len(residents) == 2
    assert run.kept()[0] in residents
    assert {child.pid for child in run.server.children()} == residents


def test_another_home_ends_those_who_wait_for_the_last(run: Run) -> None:
    here = psutil.Process(run.kept("here")[0])
    there = run.kept("there")
    wait_for(lambda: is_gone(here))
    assert there == (run.kept("there")[0], 1)
    assert run.kept("here")[1] == 1


@pytest.mark.parametrize("function", ["work:stumble", "work:missing"])
def test_a_resident_that_failed_is_not_used_again(run: Run, function: str) -> None:
    worker = psutil.Process(run.kept()[0])
    assert run.end(function, home="here")[0] == 1
    assert run.kept()[1] == 1
    wait_for(lambda: is_gone(worker))


def test_a_killed_job_takes_its_resident_along(run: Run) -> None:
    run.kept()
    job, worker = run.waiting("here")
    job.kill()
    wait_for(lambda: is_gone(worker))
    assert not (run.folder / "note.part").exists()
    assert run.kept()[1] == 1


def test_a_killed_resident_fails_its_job_and_no_other(run: Run) -> None:
    kept = run.kept()[0]
    job, worker = run.waiting("here")
    assert worker.pid == kept
    worker.kill()
    _, error = job.communicate(timeout=30)
    assert (job.returncode, error) == (1, f"{warm.KILLED}\n")
    worker = psutil.Process(run.kept()[0])
    worker.kill()
    assert run.kept()[1] == 1  # it was idle


def test_a_job_whose_resident_dies_before_it_begins_is_done_once(run: Run) -> None:
    worker = psutil.Process(run.kept()[0])
    worker.suspend()
    job = run.job("work:keep", '{"place": "kept"}', home="here")
    wait_for(lambda: psutil.Process(job.pid).net_connections("unix"))  # handed on by now, or not
    worker.kill()
    assert job.wait(timeout=30) == 0
    assert (run.folder / "kept").read_text().split()[1] == "1"


def test_an_idle_resident_ends_by_itself(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", idle_s=0.0)
    worker = psutil.Process(run.kept()[0])
    wait_for(lambda: is_gone(worker) and not run.server.children())
    assert run.kept()[1] == 1
    run.owner.kill()
    run.owner.communicate()
    wait_for(lambda: is_gone(run.server))


RULES = {
    "2experts_topk_baseline": {"rule": "topk", "home": "switchyard.routing.topk:TopK", "k": 2},
    "8experts_top_p_p060": {"rule": "top_p", "home": "switchyard.routing.top_p:TopP", "p": 0.6, "max_k": 8},
    "mixed_topk_k1.5": {"rule": "mixed_topk", "home": "switchyard.routing.mixed_topk:MixedTopK", "k": 1.5},
}


def experiment(folder: Path, k: int, setting: dict[str, Any] | None = None) -> str:
    """Arguments of an evaluation of a tiny model on two texts, results in `folder`."""
    model, dataset = folder.parent / "model", folder.parent / "texts.parquet"
    if not model.exists():
        tiny_model().save_pretrained(model)
        tiny_tokenizer().save_pretrained(model)
        write_json(model / "structure.json", describe(tiny_model().config))
        texts = {"text": [WORDS, WORDS[40:]], "original_bytes": [len(WORDS), len(WORDS) - 40]}
        write_table(
            dataset, pa.table({"sample_id": [0, 1], "page": [0, 1], "original_words": [9, 8], **texts})
        )
    names = ["traces/e", "scores/e", "traces/e_repeat", "scores/e_repeat", "logs/e"]
    files = [folder / "evaluate" / name for name in names]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    setting = setting or {
        "config": f"{k}experts_topk_baseline",
        "rule": "topk",
        "home": "switchyard.routing.topk:TopK",
        "k": k,
        "weighting": "model",
    }
    arguments = {
        "identity": {"study": "tiny", "model": "own", "dataset": "own", "setting": setting},
        "model": model,
        "dtype": "float32",
        "dataset": dataset,
        "reads": {},
        "files": files,
        "max_length": 48,
        "samples": 2,
        "run": {"batch_tokens": 64, "threads": 1, "keep_logits": True, "spelled_out_samples": None},
        "gpu_mem_gb": 0,
        "code": "abc",
    }
    return json.dumps(arguments, default=str)


def test_experiments_in_forks_side_by_side_write_the_bytes_of_one_alone(run: Run, tmp_path: Path) -> None:
    evaluate = "switchyard.evaluation.job:evaluate"
    places = {k: tmp_path / f"warm{k}" for k in (1, 2, 3)}
    jobs = [run.job(evaluate, experiment(place, k), f"{k}.log") for k, place in places.items()]
    for job in jobs:
        _, error = job.communicate(timeout=120)
        assert job.returncode == 0, error
    assert any("libtorch" in mapped.path for mapped in run.server.memory_maps())
    del run.environment[warm.VARIABLE]
    assert run.end(evaluate, experiment(tmp_path / "cold", 2))[0] == 0
    written = sorted(path for path in (tmp_path / "cold").rglob("*") if path.is_file())
    assert len(written) == 5
    for path in written:
        assert path.read_bytes() == (places[2] / path.relative_to(tmp_path / "cold")).read_bytes(), path


def files_below(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def settings() -> list[dict[str, Any]]:
    return [{"config": name, "weighting": "model", **rule} for name, rule in RULES.items()]


def test_experiments_of_one_resident_write_the_bytes_of_each_alone_in_any_order(
    run: Run, tmp_path: Path
) -> None:
    evaluate = "switchyard.evaluation.job:evaluate"
    for place, order in (("forth", settings()), ("back", settings()[::-1])):
        for setting in order:
            arguments = experiment(tmp_path / f"{place} {setting['config']}", 0, setting)
            assert run.end(evaluate, arguments, home="tiny")[0] == 0
    assert len(run.server.children()) == 1
    for setting in settings():
        name = setting["config"]
        evaluation.load.cache_clear()
        evaluation.evaluate(**json.loads(experiment(tmp_path / f"alone {name}", 0, setting)))
        written = files_below(tmp_path / f"alone {name}")
        assert len(written) == 5
        assert files_below(tmp_path / f"forth {name}") == files_below(tmp_path / f"back {name}") == written


def test_rules_leave_the_kept_model_as_it_was(tmp_path: Path) -> None:
    evaluation.load.cache_clear()
    for setting in settings():
        evaluation.evaluate(**json.loads(experiment(tmp_path / setting["config"], 0, setting)))
    assert evaluation.load.cache_info()[:2] == (2, 1)  # hits, misses
    folder = tmp_path / "model"
    kept = evaluation.load(folder, "float32", 0, evaluation.written(folder)).model
    own = tiny_model()
    assert kept.state_dict().keys() == own.state_dict().keys()
    assert all(torch.equal(value, own.state_dict()[name]) for name, value in kept.state_dict().items())
    ids = torch.arange(40)[None]
    with torch.inference_mode():
        assert torch.equal(kept(ids).logits, own(ids).logits)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in kept.modules())


def test_a_model_that_was_written_again_is_loaded_again(tmp_path: Path) -> None:
    evaluation.load.cache_clear()
    evaluation.evaluate(**json.loads(experiment(tmp_path / "one", 1)))
    write_json(tmp_path / "model" / "structure.json", describe(tiny_model().config))
    evaluation.evaluate(**json.loads(experiment(tmp_path / "two", 1)))
    assert evaluation.load.cache_info().misses == 2
