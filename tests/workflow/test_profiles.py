"""What the SLURM profile would submit; `make slurm-test` submits it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
import yte

from workflow.checkout import GPU_RULES, ROOT, STUDY, copy_checkout

pytestmark = pytest.mark.slow

PROFILES = ROOT / "profiles"
GROUP = "Group job evaluations"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("profiles"))


def dry_run(checkout: Path, *arguments: str, profile: str = "profiles/slurm") -> str:
    command = [sys.executable, "-m", "snakemake", "-n", "--profile", profile, *arguments]
    ran = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout + ran.stderr


def submitted(text: str) -> dict[str, list[dict[str, str]]]:
    """Rule -> resources of its jobs."""
    found: dict[str, list[dict[str, str]]] = {}
    for rule, resources in re.findall(r"^ *rule (\w+):\n(?: .*\n)*? *resources: (.*)$", text, re.MULTILINE):
        found.setdefault(rule, []).append(dict(word.split("=", 1) for word in resources.split(", ")))
    return found


def test_what_jobs_ask_for(checkout: Path) -> None:
    given = ["--configfile", STUDY, "--set-resources", "fit_nulls:mem_mb=7 if attempt == 1 else 9"]
    text = dry_run(checkout, *given)
    jobs = submitted(text)
    assert {rule for rule, each in jobs.items() if any("gpu" in one for one in each)} == GPU_RULES
    assert all(one["gpu"] == "1" for rule in GPU_RULES for one in jobs[rule])
    assert all({"mem_mb", "runtime"} <= one.keys() for each in jobs.values() for one in each)
    assert {one["mem_mb"] for one in jobs["fit_nulls"]} == {"7"}
    assert len(jobs["evaluate_experiment"]) == 12
    assert text.count(GROUP) == 1


def test_evaluations_of_a_large_study_are_bundled(checkout: Path) -> None:
    text = dry_run(checkout, "--configfile", "studies/olmoe.yaml")
    jobs = submitted(text)["evaluate_experiment"]
    assert len(jobs) / 20 < text.count(GROUP) < len(jobs) / 10  # ten at a time, each with its partner
    assert all(int(one["mem_mb"]) > 14_000 for one in jobs)
    assert all(int(one["gpu_mem_gb"]) > 14 for one in jobs)


def test_a_cluster_without_gpus(checkout: Path) -> None:
    profile = shutil.copytree(checkout / "profiles" / "slurm", checkout / "profiles" / "cpu") / "profile.yaml"
    assert "gpus = True" in profile.read_text()
    profile.write_text(profile.read_text().replace("gpus = True", "gpus = False"))
    text = dry_run(checkout, "--configfile", STUDY, profile="profiles/cpu")
    assert {one["gpu"] for rule, each in submitted(text).items() for one in each if "gpu" in one} == {"0"}
    assert all(
        one["models"] == "1" for one in submitted(text)["evaluate_experiment"]
    )  # they still take turns


def test_the_default_profile_does_not_overrule_it() -> None:
    """Snakemake reads profiles/default beside --profile, and what stands there goes before."""
    default, slurm = (
        yte.process_yaml((PROFILES / name / "profile.yaml").read_text()) for name in ("default", "slurm")
    )
    assert {key: default[key] for key in default.keys() & slurm.keys()} == {
        key: slurm[key] for key in default.keys() & slurm.keys()
    }
    assert slurm["latency-wait"] == 60 and "latency-wait" not in default


def test_the_partitions_are_two() -> None:
    """The names that `tests/slurm/cluster.py` gives its partitions, and which of them has cards."""
    limits = yaml.safe_load((PROFILES / "slurm/partitions.yaml").read_text())["partitions"]
    assert limits["main"]["max_gpu"] == 0 < limits["gpu"]["max_gpu"]
