"""The jobs of snakemake's dry run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from switchyard.errors import InputError
from switchyard.planning.jobs import ROOT, Job, dry_run, longest


def test_the_longest_chain_waits_for_what_it_reads():
    reads = {"a": ["text"], "b": ["a"], "c": ["a"], "d": ["b", "c"], "alone": []}
    jobs = [Job("step", inputs=inputs, outputs=[name]) for name, inputs in reversed(reads.items())]
    assert longest(jobs, [5.0, 1000.0, 100.0, 10.0, 1.0]) == 1101  # alone, d, c, b, a


def test_a_dry_run_beside_a_running_study_touches_nothing(tmp_path: Path):
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("results/smoke/study.duckdb\n")
    profile = ["--profile", str(ROOT / "profiles" / "slurm")]  # evaluations are group jobs
    jobs = dry_run(directory=tmp_path, study=ROOT / "studies" / "smoke.yaml", cores=3, extra=profile)
    evaluated = [job for job in jobs if {"config", "dataset"} <= job.wildcards.keys()]
    assert len(evaluated) == 12 and all(job.runs_model for job in evaluated)
    assert all(job.outputs and job.resources["gpu_mem_gb"] > 0 for job in evaluated)
    assert longest(jobs, [1.0] * len(jobs)) > 5
    assert not (tmp_path / "results").exists()
    assert os.listdir(locks) == ["0.output.lock"]


def test_a_refused_study_is_one_line(tmp_path: Path):
    (tmp_path / "bad.yaml").write_text("study: bad\nobservation: {corpus: none}\n")
    with pytest.raises(InputError) as caught:
        dry_run(directory=tmp_path, study=tmp_path / "bad.yaml", cores=1)
    assert str(caught.value).startswith("config: observation.corpus: 'none' is no corpus")
    assert "\n" not in str(caught.value)
