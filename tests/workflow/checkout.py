"""Checkouts of the project to run the smoke study in."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
STUDY = "studies/smoke.yaml"
RESULTS = Path("results/smoke")

GPU_RULES = {
    "train_pocket_model",
    "collect_router_logits",
    "observe_shard",
    "measure_saturation",
    "assess_model",
    "measure_speed",
    "evaluate_experiment",
    "evaluate_var",
    "measure_var_speed",
    "sweep_var",
    "evaluate_points",
    "validate_search",
    "ablate_rules",
    "profile_model",
}
"""Rules whose jobs run a model, and ask a cluster for a GPU."""


def copy_checkout(folder: Path) -> Path:
    """The project's own files, without results and environments, in `folder`."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def copy_study(smoke: Path, folder: Path) -> Path:
    """Copy a checkout with its results: modification times, checksums and snakemake's records are kept."""
    checkout = copy_checkout(folder.resolve())
    for name in (RESULTS, ".snakemake"):
        shutil.copytree(smoke / name, checkout / name, symlinks=True)
    return checkout


def launcher_command(study: str = STUDY, cores: str | None = "2") -> list[str]:
    """The launcher behind `make study`, to be run in a checkout; None leaves the cores to a profile."""
    command = [sys.executable, "workflow_scripts/run_study.py", "--study", study]
    return [*command, *(["--cores", cores] if cores else [])]


def run_study(checkout: Path, *arguments: str, timeout: float = 1800) -> subprocess.CompletedProcess[str]:
    """Run the smoke study to its end."""
    return subprocess.run(
        [*launcher_command(), *arguments], cwd=checkout, capture_output=True, text=True, timeout=timeout
    )


def jobs(checkout: Path, *arguments: str) -> dict[str, int]:
    """Rule -> number of jobs that a dry run of the smoke study would run."""
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--configfile", STUDY, *arguments]
    ran = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    lines = (ran.stdout + ran.stderr).splitlines()
    rows = [line.split() for line in lines]
    counts = {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
    counts.pop("total", None)
    counts.pop("all", None)
    return counts
