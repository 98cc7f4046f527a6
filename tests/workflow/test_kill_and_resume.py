"""A run killed at any moment is completed by the same command, and its results are those of an undisturbed run."""

from __future__ import annotations

import random
from pathlib import Path

from workflow.checkout import RESULTS, copy_checkout, launcher_command, run_study
from workflow.kill import check_same_results, kill_once

KILLS = (("snakemake",), ("worker", "script"), ("launcher",))
"""In every run of the tests; `workflow.kill` does any number."""


def test_killed_again_and_again(smoke: Path, tmp_path: Path):
    checkout = copy_checkout((tmp_path / "killed").resolve())
    moments = random.Random(20261121)
    for victims in KILLS:
        kill = kill_once(checkout, launcher_command(), moments.uniform(4, 25), victims)
        assert kill is not None and kill.ended != "completed"
    ran = run_study(checkout)
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert check_same_results(smoke / RESULTS, checkout / RESULTS)
