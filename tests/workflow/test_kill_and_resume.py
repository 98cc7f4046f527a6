"""A run killed at any moment is completed by the same command, and its results are those of an undisturbed run."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from workflow.checkout import RESULTS, STUDY, copy_checkout, run_study

KILLS = 3
"""In every run of the tests; `workflow.kill_ten_times` does ten."""

SPEED = {"tokens_per_second", "latency_ms_per_token"}


def kill_once(checkout: Path, delay_s: float) -> bool:
    """Start the study and kill its snakemake process, not its jobs, after `delay_s`; False if it had ended."""
    command = [sys.executable, "workflow_scripts/run_study.py", "--study", STUDY, "--cores", "2"]
    launcher = subprocess.Popen(command, cwd=checkout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(delay_s)
    for process in psutil.Process(launcher.pid).children() if launcher.poll() is None else []:
        process.send_signal(signal.SIGKILL)
        launcher.wait(timeout=60)
        return True
    launcher.wait(timeout=300)
    return False


def assert_same_results(left: Path, right: Path) -> None:
    """Logs, traces and scores byte for byte; tables value for value, speed aside."""
    compared = 0
    for path in sorted((left / RESULTS).rglob("*")):
        other = right / path.relative_to(left)
        if (
            path.suffix == ".parquet"
            and path.parent.name
            in (
                "traces",
                "scores",
                "calibrate",
                "datasets",
                "prepare",
            )
            or path.name.endswith("_internal_routing.json")
        ):
            assert path.read_bytes() == other.read_bytes(), path
        elif path.suffix == ".parquet":
            one, two = (
                pq.read_table(file).to_pandas().drop(columns=SPEED, errors="ignore") for file in (path, other)
            )
            assert one.equals(two), path
        else:
            continue
        compared += 1
    assert compared > 30


def test_killed_again_and_again(smoke: Path, tmp_path: Path):
    checkout = copy_checkout(tmp_path / "killed")
    moments = random.Random(20261121)
    killed = sum(kill_once(checkout, moments.uniform(4, 25)) for _ in range(KILLS))
    assert killed == KILLS
    ran = run_study(checkout)
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert (checkout / RESULTS / "report.html").is_file()
    assert_same_results(smoke, checkout)
