"""The plan of a real dry run: what rules declare is what is reckoned, and what docs/scaling.md shows."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from switchyard import __main__ as command
from switchyard.planning import dag as dags
from switchyard.planning.costs import RULES
from switchyard.planning.dag import ROOT, Dag
from switchyard.planning.estimate import reckoned
from unit.planning.studies import workload

AROUND_MB = 500
"""What rules/common.smk adds for snakemake itself."""

TEXT = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("olmoe")
    (folder / "resources").symlink_to(ROOT / "resources")
    return folder


@pytest.fixture(scope="module")
def olmoe(folder: Path) -> Dag:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(folder / "hub"))
        return dags.dry_run(directory=folder, study=ROOT / "studies" / "olmoe.yaml", cores=8)


def test_what_is_reckoned_is_what_rules_declare(folder, olmoe, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "hub"))
    work = workload(folder, "olmoe.yaml")
    declared = [job for job in olmoe.jobs if "mem_mb" in job.resources]
    named = {name for name, rule in RULES.items() if rule.forwards or rule.counts}
    # no model is trained in this study
    assert {job.rule for job in declared} == named - {"train_pocket_model", "measure_saturation"}
    for job in declared:
        host, card = reckoned(job, RULES[job.rule], work)
        assert job.resources["mem_mb"] == host + AROUND_MB, job.rule
        assert job.resources.get("gpu_mem_gb", 0) == card, job.rule


def test_the_plan_in_the_documentation_is_the_one_that_is_made(folder, olmoe, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "hub"))
    words, shown = re.search(r"\$ python -m switchyard (plan .*)\n((?:(?!```).*\n)*)", TEXT).groups()
    words = words.replace("studies/", f"{ROOT}/studies/").split()
    monkeypatch.setattr(dags, "dry_run", lambda **_: olmoe)
    monkeypatch.setattr(sys, "argv", ["switchyard", *words, "--directory", str(folder)])
    assert command.main() == 1
    found = capsys.readouterr().out
    assert re.sub(r"Estimates, from\n(- .*\n)*\n", "", found) == shown
