"""The jobs of snakemake's dry run."""

from __future__ import annotations

import itertools
import os
import random
from pathlib import Path

import pytest

from switchyard.errors import InputError
from switchyard.planning.jobs import ROOT, Job, dry_run, longest


def longest_by_brute_force(jobs, seconds) -> float:
    """The longest sum over all orders in which each job reads what the one before it makes."""
    orders = (
        order for size in range(len(jobs)) for order in itertools.permutations(range(len(jobs)), size + 1)
    )
    chains = (
        order
        for order in orders
        if all(jobs[a].outputs[0] in jobs[b].inputs for a, b in itertools.pairwise(order))
    )
    return max(sum(seconds[place] for place in chain) for chain in chains)


@pytest.mark.parametrize("seed", range(3))
def test_the_longest_chain_is_the_one_found_by_brute_force(seed):
    draw = random.Random(seed)
    reads = [[str(one) for one in range(place) if draw.random() < 0.4] for place in range(6)]
    jobs = [Job("step", inputs=["source", *one], outputs=[str(place)]) for place, one in enumerate(reads)]
    draw.shuffle(jobs)
    seconds = [draw.random() for _ in jobs]
    assert longest(jobs, seconds) == pytest.approx(longest_by_brute_force(jobs, seconds))
    assert longest([], []) == 0


def test_a_dry_run_beside_a_running_study_touches_nothing(tmp_path: Path):
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("results/smoke/study.duckdb\n")
    profile = ["--profile", str(ROOT / "profiles" / "slurm")]  # evaluations are group jobs
    jobs = dry_run(directory=tmp_path, study=ROOT / "studies" / "smoke.yaml", cores=3, extra=profile)
    evaluated = [job for job in jobs if {"config", "dataset"} <= job.wildcards.keys()]
    assert len(evaluated) == 9 and all(job.runs_model for job in evaluated)
    assert all(job.resources["mem_mb"] > 0 and job.resources["gpu_mem_gb"] > 0 for job in evaluated)
    assert all(job.outputs for job in jobs)
    assert longest(jobs, [1.0] * len(jobs)) > 5
    assert not (tmp_path / "results").exists()
    assert os.listdir(locks) == ["0.output.lock"]


def test_a_refused_study_is_one_line(tmp_path: Path):
    (tmp_path / "bad.yaml").write_text("study: bad\nobservation: {corpus: none}\n")
    with pytest.raises(InputError) as caught:
        dry_run(directory=tmp_path, study=tmp_path / "bad.yaml", cores=1)
    assert str(caught.value).startswith("config: observation.corpus: 'none' is no corpus")
    assert "\n" not in str(caught.value)
