"""Every study file: its configuration resolves, and its whole plan can be drawn up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workflow.checkout import ROOT, copy_checkout

STUDIES = [None, *sorted(path.name for path in (ROOT / "studies").glob("*.yaml"))]
STAND_INS = ("wikitext-2-raw-v1_test", "lambada_openai_test_first200", "hellaswag_val_first200")
PROBLEMS = ("humaneval_test_first82", "mbpp_test_first100")

EXPERIMENTS = {
    "smoke.yaml": 12,
    "controls.yaml": 318,
    "rules.yaml": 207,
    "factors.yaml": 552,
    "olmoe.yaml": 195,
    "code.yaml": 5,
    "mixtral.yaml": 16,
    "quantised.yaml": 36,
}
"""Of the studies that change the sets or the models; the others run the 60, their controls and the second model."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_checkout(tmp_path_factory.mktemp("studies"))
    (folder / "data").mkdir()
    for name in (*STAND_INS, *PROBLEMS):
        (folder / "data" / f"{name}.parquet").touch()
    return folder


@pytest.mark.parametrize("study", STUDIES)
def test_dry_run(study: str | None, checkout: Path):
    chosen = ["--configfile", f"studies/{study}"] if study else []
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", *chosen]
    ran = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    experiments = EXPERIMENTS.get(study, 219)
    assert f"evaluate_experiment {experiments:>12}".split() in [
        line.split() for line in ran.stdout.splitlines()
    ]
