"""The jobs of snakemake's dry run."""

from __future__ import annotations

import itertools
import os
import random
from pathlib import Path

import pytest

from switchyard.errors import InputError
from switchyard.planning.jobs import ROOT, Job, dry_run, longest


def chain_by_brute_force(jobs, seconds) -> float:
    """The longest sum over all orders in which each job reads what the one before it makes."""
    sums = [0.0]
    for size in range(1, len(jobs) + 1):
        for chain in itertools.permutations(range(len(jobs)), size):
            links = zip(chain, chain[1:])
            if all(set(jobs[a].outputs) & set(jobs[b].inputs) for a, b in links):
                sums.append(sum(seconds[place] for place in chain))
    return max(sums)


@pytest.mark.parametrize("seed", range(5))
def test_the_longest_chain_is_the_one_found_by_brute_force(seed):
    draw = random.Random(seed)
    jobs = []
    for place in range(6):
        inputs = [f"{one}.txt" for one in range(place) if draw.random() < 0.4]
        jobs.append(Job("step", inputs=["source.txt", *inputs], outputs=[f"{place}.txt"]))
    draw.shuffle(jobs)
    seconds = [draw.random() for _ in jobs]
    assert longest(jobs, seconds) == pytest.approx(chain_by_brute_force(jobs, seconds))


def test_a_long_chain_is_no_recursion():
    jobs = [Job("step", inputs=[str(place + 1)], outputs=[str(place)]) for place in range(5000)]
    assert longest(jobs, [1.0] * 5000) == 5000
    assert longest([], []) == 0


def test_a_dry_run_beside_a_running_study_touches_nothing(tmp_path: Path):
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("results/smoke/study.duckdb\n")
    kept = tmp_path / "results" / "smoke" / "keep"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    profile = ["--profile", str(ROOT / "profiles" / "slurm")]  # evaluations are group jobs
    jobs = dry_run(directory=tmp_path, study=ROOT / "studies" / "smoke.yaml", cores=3, extra=profile)
    evaluated = [job for job in jobs if {"config", "dataset"} <= job.wildcards.keys()]
    assert len(evaluated) == 9 and all(job.runs_model for job in evaluated)
    assert all(job.resources["mem_mb"] > 0 and job.resources["gpu_mem_gb"] > 0 for job in evaluated)
    assert all(job.outputs for job in jobs)
    assert longest(jobs, [1.0] * len(jobs)) > 5
    assert [path.name for path in (tmp_path / "results").rglob("*") if path.is_file()] == ["keep"]
    assert os.listdir(locks) == ["0.output.lock"]


def test_a_refused_study_is_one_line(tmp_path: Path):
    (tmp_path / "bad.yaml").write_text("study: bad\nobservation: {corpus: none}\n")
    with pytest.raises(InputError) as caught:
        dry_run(directory=tmp_path, study=tmp_path / "bad.yaml", cores=1)
    assert str(caught.value).startswith("config: observation.corpus: 'none' is no corpus")
    assert "\n" not in str(caught.value)
