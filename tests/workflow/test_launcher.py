"""The launcher on a miniature workflow: second runs, killed runs, failures, and its report."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from switchyard.errors import InputError
from switchyard.launcher import recover

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

SNAKEFILE = """
import os
os.environ["SWITCHYARD_CHECKOUT"] = os.getcwd()

configfile: "config.yaml"

rule all:
    input: "results/mini/copy.txt"

rule write_number:
    output: "results/mini/number.txt"
    log: "results/mini/logs/write_number.log"
    params: "write_number"
    script: "workflow_scripts/write_number.py"

rule copy_number:
    input: "results/mini/number.txt"
    output: report("results/mini/copy.txt", category="Numbers")
    log: "results/mini/logs/copy_number.log"
    shell: "cp {input} {output}"
"""

WRITE_NUMBER = """
import os, time
from pathlib import Path

output, log = Path(snakemake.output[0]), Path(snakemake.log[0])
log.parent.mkdir(parents=True, exist_ok=True)
if Path("broken").exists():
    log.write_text("switchyard: error: broken: this file must not exist; remove it\\n")
    raise SystemExit(1)
output.write_text("half")
Path("worker.pid").write_text(str(os.getpid()))
while Path("wait").exists():
    time.sleep(0.02)
output.write_text("42\\n")
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A folder with the launcher, the profile and a workflow of two jobs; no process of it survives the test."""
    folder = tmp_path.resolve() / "checkout"
    (folder / "workflow_scripts").mkdir(parents=True)
    (folder / "profiles").mkdir()
    shutil.copy(ROOT / "workflow_scripts" / "run_study.py", folder / "workflow_scripts")
    shutil.copytree(ROOT / "profiles" / "default", folder / "profiles" / "default")
    (folder / "lib").symlink_to(ROOT / "lib")
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "workflow_scripts" / "write_number.py").write_text(WRITE_NUMBER)
    (folder / "config.yaml").write_text("study: mini\n")
    yield folder
    for process in processes_in(folder):
        process.kill()


def processes_in(folder: Path) -> list[psutil.Process]:
    """Live processes that work in `folder`, this one aside."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.cwd() == str(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def launch(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if k != "SWITCHYARD_CHECKOUT"}
    command = [sys.executable, str(folder / "workflow_scripts" / "run_study.py"), "--cores", "1", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Launch and wait: exit code and everything that stood on stderr."""
    launcher = launch(folder, *arguments)
    _, output = launcher.communicate(timeout=60)
    return launcher.returncode, output


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited 30 s in vain"
        time.sleep(0.02)


def worker_of(folder: Path) -> int:
    """Pid of the job that waits, once it is there."""
    note = folder / "worker.pid"
    wait_for(lambda: note.is_file() and note.read_text())
    return int(note.read_text())


def start_waiting(folder: Path) -> tuple[subprocess.Popen[str], int, int]:
    """A launch whose first job waits for the file `wait` to go: launcher, pid of snakemake, pid of the worker."""
    (folder / "wait").touch()
    launcher = launch(folder)
    worker = worker_of(folder)
    (snakemake,) = psutil.Process(launcher.pid).children()
    return launcher, snakemake.pid, worker


def is_done(folder: Path) -> bool:
    return (folder / "results/mini/copy.txt").read_text() == "42\n"


def test_report_is_made_and_made_again_only_for_something_newer(checkout: Path) -> None:
    code, output = run(checkout)
    report = checkout / "results/mini/report.html"
    assert (code, is_done(checkout)) == (0, True), output
    assert "Numbers" in report.read_text()
    assert not list(report.parent.glob(".*"))

    made = report.stat().st_mtime_ns
    code, output = run(checkout)
    assert code == 0
    assert "Nothing to be done" in output
    assert report.stat().st_mtime_ns == made

    (checkout / "reports").mkdir()
    (checkout / "reports" / "stylesheet.css").write_text("body { color: rebeccapurple }\n")
    code, output = run(checkout)
    assert code == 0, output
    assert "rebeccapurple" in report.read_text()


def test_second_launch_is_refused_in_one_line(checkout: Path) -> None:
    first, _, _ = start_waiting(checkout)
    code, output = run(checkout)
    assert code != 0
    assert output.splitlines() == [
        f"switchyard: error: {checkout}: another run is in progress ({recover.named(first.pid)}); "
        "wait for it to end, or stop it"
    ]
    (checkout / "wait").unlink()
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert is_done(checkout)


def test_report_beside_a_run_is_refused_in_one_line(checkout: Path) -> None:
    first, _, _ = start_waiting(checkout)
    code, output = run(checkout, "--report-only")
    assert code != 0
    (line,) = output.splitlines()
    assert f"another run is in progress ({recover.named(first.pid)})" in line
    (checkout / "wait").unlink()
    first.communicate(timeout=60)
    assert is_done(checkout)


def test_killed_worker_is_reported_with_a_remedy_for_memory(checkout: Path) -> None:
    log = checkout / "results/mini/logs/write_number.log"
    log.parent.mkdir(parents=True)
    log.write_text("switchyard: error: a run of yesterday had this; never mind\n")
    launcher, _, worker = start_waiting(checkout)
    os.kill(worker, signal.SIGKILL)
    _, output = launcher.communicate(timeout=30)
    assert launcher.returncode == 1
    line = output.splitlines()[-1]
    assert line.startswith("switchyard: error: job killed (SIGKILL), probably out of memory; lower ")
    assert not [
        word for word in ("batch_tokens", "--cores", "mem_mb", "rule write_number") if word not in line
    ]
    assert not (checkout / "results/mini/number.txt").exists()

    (checkout / "wait").unlink()
    code, output = run(checkout)
    assert (code, is_done(checkout)) == (0, True), output


def test_snakemake_started_by_hand_is_left_in_peace_until_it_is_killed(checkout: Path) -> None:
    (checkout / "wait").touch()
    by_hand = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "1"], cwd=checkout, stderr=subprocess.DEVNULL
    )
    worker = worker_of(checkout)
    code, output = run(checkout)
    assert code != 0
    assert f"another run is in progress ({recover.named(by_hand.pid)})" in output

    by_hand.kill()
    by_hand.wait(timeout=30)
    assert psutil.pid_exists(worker)  # an orphan that would go on writing
    launcher = launch(checkout)
    wait_for(lambda: not psutil.pid_exists(worker))
    (checkout / "wait").unlink()
    _, output = launcher.communicate(timeout=60)
    assert (launcher.returncode, is_done(checkout)) == (0, True), output
    assert "an earlier run was interrupted" in output


def test_killed_snakemake_leaves_no_worker_and_the_same_command_goes_on(checkout: Path) -> None:
    launcher, snakemake, worker = start_waiting(checkout)
    os.kill(snakemake, signal.SIGKILL)
    _, output = launcher.communicate(timeout=30)
    assert launcher.returncode == 128 + signal.SIGKILL
    assert output.splitlines()[-1] == (
        "switchyard: error: the run was ended by SIGKILL; run the same command again to resume"
    )
    assert not psutil.pid_exists(worker)

    (checkout / "wait").unlink()
    code, output = run(checkout)
    assert (code, is_done(checkout)) == (0, True), output
    assert "removed its lock" in output


def test_killed_launcher_takes_snakemake_along_and_the_next_ends_the_worker(checkout: Path) -> None:
    launcher, snakemake, worker = start_waiting(checkout)
    half_written = checkout / "results/mini/.table.parquet.1.part"
    half_written.touch()
    launcher.kill()
    launcher.wait(timeout=30)  # not communicate(): the worker holds the other end of stderr
    wait_for(lambda: not psutil.pid_exists(snakemake))
    assert psutil.pid_exists(worker)  # an orphan that would go on writing

    code, output = run(checkout, "--", "--config", "other=1", "study=mini", "-n")
    assert code == 0, output
    assert "ended 1 orphaned workers" in output or "ended 2 orphaned workers" in output
    assert not psutil.pid_exists(worker)
    assert not half_written.exists()

    (checkout / "wait").unlink()
    code, output = run(checkout)
    assert (code, is_done(checkout)) == (0, True), output


def test_run_in_another_folder_goes_its_own_way(checkout: Path, tmp_path: Path) -> None:
    launcher, _, worker = start_waiting(checkout)
    elsewhere = tmp_path.resolve() / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(checkout / "config.yaml", elsewhere)
    code, output = run(checkout, "--directory", str(elsewhere), "results/mini/copy.txt")
    assert code == 0 and is_done(elsewhere), output
    assert not (elsewhere / "results/mini/report.html").exists()  # a target was named
    assert psutil.pid_exists(worker)
    (checkout / "wait").unlink()
    launcher.communicate(timeout=60)
    assert launcher.returncode == 0


def test_a_folder_after_the_dashes_is_the_folder_of_the_report(checkout: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path.resolve() / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(checkout / "config.yaml", elsewhere)
    profile = ["--workflow-profile", "profiles/default"]  # from the folder of the caller
    code, output = run(checkout, "--", *profile, "--directory", str(elsewhere))
    assert code == 0 and is_done(elsewhere), output
    assert (elsewhere / "results/mini/report.html").is_file()
    assert not (checkout / "results").exists()


def test_a_part_of_a_study_has_no_report(checkout: Path) -> None:
    code, output = run(checkout, "--", "--until", "write_number")
    assert (code, "report" in output) == (0, False), output
    assert [path.name for path in (checkout / "results/mini").glob("*.*")] == ["number.txt"]


def test_interrupt_ends_everything(checkout: Path) -> None:
    launcher, _, worker = start_waiting(checkout)
    launcher.send_signal(signal.SIGINT)
    _, output = launcher.communicate(timeout=30)
    assert launcher.returncode == 128 + signal.SIGINT
    assert "ended by SIGINT; run the same command again" in output.splitlines()[-1]
    assert not psutil.pid_exists(worker)
    assert not processes_in(checkout)


@pytest.mark.parametrize("by_hand", [False, True])
def test_failed_job_ends_in_its_error_line(checkout: Path, by_hand: bool) -> None:
    (checkout / "broken").touch()
    if by_hand:
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--logger", "switchyard"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}
        ran = subprocess.run(
            command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=60
        )
        code, output = ran.returncode, ran.stderr
    else:
        code, output = run(checkout)
    assert code == 1
    assert output.splitlines()[-1] == (
        "switchyard: error: broken: this file must not exist; remove it "
        "(rule write_number, log: results/mini/logs/write_number.log)"
    )
    assert not (checkout / "results/mini/number.txt").exists()
    assert not (checkout / "results/mini/report.html").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "no such study file"),
        ("study: [a\n", "is not YAML"),
        ("- study\n", "a map of settings is expected"),
        ("study: mini\nstudy: two\n", "'study' on line 2"),
        ("study: ../away\n", "cannot name a folder"),
    ],
)
def test_unusable_study_file_is_one_line(checkout: Path, content: str | None, complaint: str) -> None:
    study = checkout / "study.yaml"
    if content is not None:
        study.write_text(content)
    code, output = run(checkout, "--study", str(study))
    assert code == 2
    (line,) = output.splitlines()
    assert line.startswith("switchyard: error: ") and str(study) in line and complaint in line
    assert not (checkout / "results").exists()


def test_report_without_results_says_what_to_run(checkout: Path) -> None:
    code, output = run(checkout, "--report-only")
    assert code == 2
    assert output.splitlines() == [
        "switchyard: error: results/mini does not exist; run the study first, then its report"
    ]


def test_a_file_system_without_locks_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(recover.FileLock, "acquire", refuse)
    line = "lock: cannot be locked .Function not implemented.; put the folder"
    with pytest.raises(InputError, match=line), recover.only_run(tmp_path):
        pass
