"""A run killed at any moment is completed by the same command, and its results are those of an undisturbed run."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from workflow.checkout import RESULTS, copy_checkout, launcher_command, run_study
from workflow.kill import check_same_results, kill_once

KILLS = (("snakemake",), ("launcher",), ("worker", "script"))
"""In every run of the slow tests; `workflow.kill` does any number."""


def test_killed_in_the_middle_of_an_experiment(smoke: Path, smoke_copy: Path) -> None:
    """The finished study lacks one experiment; its job is killed as soon as it runs, then the run resumes."""
    for path in (smoke_copy / RESULTS / "evaluate").rglob("8experts_bh_a030_*"):
        path.unlink()
    kill = kill_once(smoke_copy, [*launcher_command(), "evaluate_all"], 0, ("script",))
    assert kill is not None and kill.ended.startswith("failed")
    ran = run_study(smoke_copy, "evaluate_all")
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert check_same_results(smoke / RESULTS, smoke_copy / RESULTS)


@pytest.mark.slow
def test_killed_again_and_again(smoke: Path, tmp_path: Path) -> None:
    checkout = copy_checkout((tmp_path / "killed").resolve())
    moments = random.Random(20261121)
    for victims in KILLS:
        kill = kill_once(checkout, launcher_command(), moments.uniform(4, 25), victims)
        # A worker that dies before it has begun leaves the work to its job, and the run goes on.
        assert kill is not None and (kill.ended != "completed" or kill.victim == "worker")
    ran = run_study(checkout)
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert check_same_results(smoke / RESULTS, checkout / RESULTS)
