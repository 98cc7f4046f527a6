"""The lines that a failed run ends with, from the events that snakemake gives a logger plugin."""

from __future__ import annotations

import os
from logging import makeLogRecord
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_switchyard import LogHandler
from switchyard.artifacts import shortages
from switchyard.launcher import causes
from switchyard.runtime.workers import KILLED

SIGKILL = "Command 'set -e;  python /x/tmp1.work.py' died with <Signals.SIGKILL: 9>."
FAILED = "Command 'set -e;  python /x/tmp1.work.py' returned non-zero exit status 1."
CLUSTER = "slurm_logs/5.log"


class Run:
    """A run of snakemake in the current folder, as its logger plugin sees it."""

    def __init__(self) -> None:
        self.handler = LogHandler(SimpleNamespace(), None)

    def log(self, event: LogEvent, **more: object) -> None:
        self.handler.emit(makeLogRecord({"event": event, "thread": 7, **more}))

    def begin(self, jobid: int, log: str | None = None) -> dict[str, object]:
        """Announce a job of rule `work`; what snakemake says of it when it fails."""
        logs = [log] if log else []
        self.log(LogEvent.JOB_INFO, jobid=jobid, log=logs, created=1000.0 + jobid)
        return {"jobid": jobid, "rule_name": "work", "rule_msg": None, "log": logs, "indent": False}

    def fail(self, job: dict[str, object], exception: str | None = None, **more: object) -> None:
        if exception:
            self.log(LogEvent.ERROR, msg=f"RuleException:\n{exception}")
        self.log(LogEvent.JOB_ERROR, **{**job, **more})

    def fail_group(self, *jobs: dict[str, object], aux_logs: list[str]) -> None:
        members = [{**job, "indent": True} for job in jobs]
        self.log(LogEvent.GROUP_ERROR, groupid="g", aux_logs=aux_logs, job_error_info=members)
        for member in members:
            self.log(LogEvent.JOB_ERROR, **member)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slurm_logs").mkdir()
    return Run()


def lines(run: Run, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the plugin prints at the end, once."""
    run.handler.close()
    run.handler.close()
    return [line.removeprefix("switchyard: error: ") for line in capsys.readouterr().err.splitlines()]


def write(name: str, text: str, time_s: float | None = None) -> None:
    Path(name).write_text(text)
    if time_s is not None:
        os.utime(name, (time_s, time_s))


def test_a_run_without_failures_says_nothing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.begin(1, "1.log")
    run.log(LogEvent.JOB_FINISHED, job_id=1)
    assert lines(run, capsys) == []


def test_equal_causes_are_one_line_and_what_succeeded_later_is_left_out(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = {number: run.begin(number, f"{number}.log") for number in range(1, 7)}
    for number in (2, 4, 5):
        write(f"{number}.log", "loading\nswitchyard: error: thing: bad; correct it\n")
    run.fail(jobs[1], SIGKILL)
    run.fail(jobs[3], SIGKILL)
    for number in (2, 4, 5):
        run.fail(jobs[number], FAILED)
    run.begin(3, "3.log")
    run.log(LogEvent.JOB_FINISHED, job_id=3)
    killed, bad = lines(run, capsys)
    assert killed.startswith("job killed (SIGKILL), probably out of memory; lower ")
    assert killed.endswith("(rule work, log: 1.log)")
    assert bad == "thing: bad; correct it (rule work and 2 other jobs, log: 2.log)"


@pytest.mark.parametrize(
    ("log", "exception", "line"),
    [
        ("Traceback (most recent call last):\nValueError: odd number\n", FAILED, "ValueError: odd number"),
        (f"loading\n{KILLED}\n", FAILED, "job killed (SIGKILL), probably out of memory"),
        ("loading\n", "Command 'x' returned non-zero exit status 137.", "job killed (SIGKILL)"),
        ("loading\n", "Command 'x' died with <Signals.SIGTERM: 15>.", "job ended by SIGTERM; run the same"),
        ("", FAILED, "job failed without a message"),
    ],
)
def test_how_a_job_ended(
    log: str, exception: str, line: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    job = run.begin(1, "1.log")
    write("1.log", log)
    run.fail(job, exception)
    (said,) = lines(run, capsys)
    assert said.startswith(line) and said.endswith("(rule work, log: 1.log)")


def test_a_log_of_an_earlier_attempt_is_not_read(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    write("1.log", "switchyard: error: corrected by now\n", time_s=10.0)
    run.fail(run.begin(1, "1.log"), SIGKILL)
    (line,) = lines(run, capsys)
    assert line.startswith("job killed")


def test_a_full_disk_is_one_more_line(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causes.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    run.fail(run.begin(1), FAILED)
    failed, full = lines(run, capsys)
    assert failed.endswith("(rule work, log: none)")
    assert shortages.NO_SPACE in full and "free space there" in full


def test_of_a_group_those_jobs_are_reported_that_say_why_they_failed(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [run.begin(number, f"{number}.log") for number in range(4)]
    write("1.log", "switchyard: error: thing: bad; correct it\n")
    write("2.log", f"{KILLED}\n")
    write(CLUSTER, f"{FAILED}\n")
    run.fail_group(*jobs, aux_logs=[CLUSTER])
    bad, killed = lines(run, capsys)
    assert bad == f"thing: bad; correct it (rule work, log: 1.log, {CLUSTER})"
    assert killed.startswith("job killed") and "--set-resources work:mem_mb=" in killed
    assert killed.endswith(f"(rule work, log: 2.log, {CLUSTER})")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("*** JOB 5 ON n1 CANCELLED AT 2026-11-21 DUE TO TIME LIMIT ***", "--set-resources work:runtime="),
        ("Detected 1 oom_kill event in StepId=5.batch.", "--set-resources work:mem_mb="),
        ("*** JOB 5 ON n1 CANCELLED AT 2026-11-21 DUE TO NODE FAILURE ***", "DUE TO NODE FAILURE"),
    ],
)
def test_what_ended_a_group_of_jobs_is_one_line(
    said: str, words: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    write(CLUSTER, f"slurmstepd-n1: error: {said}\n")
    run.fail_group(run.begin(1, "1.log"), run.begin(2, "2.log"), aux_logs=[CLUSTER])
    (line,) = lines(run, capsys)
    assert words in line and line.endswith(f"(rule work and 1 other job, log: 1.log, {CLUSTER})")


@pytest.mark.parametrize(
    ("state", "words"),
    [("TIMEOUT", "work:runtime="), ("OUT_OF_MEMORY", "work:mem_mb="), ("NODE_FAIL", "NODE_FAIL")],
)
def test_the_state_of_a_cluster_s_job_has_its_remedy(
    state: str, words: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    message = f"SLURM-job '5' failed, SLURM status is: '{state}'. For further error details see"
    run.fail(run.begin(1, "1.log"), rule_msg=message, log=["1.log", CLUSTER])
    (line,) = lines(run, capsys)
    assert words in line and line.endswith(f"log: 1.log, {CLUSTER})")


def test_a_state_that_explains_nothing_gives_way_to_the_job_s_own_line(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    job = run.begin(1, "1.log")
    write("1.log", "switchyard: error: thing: bad; correct it\n")
    run.fail(job, rule_msg="SLURM-job '5' failed, SLURM status is: 'FAILED'.", log=["1.log", CLUSTER])
    (line,) = lines(run, capsys)
    assert line.startswith("thing: bad; correct it (")
