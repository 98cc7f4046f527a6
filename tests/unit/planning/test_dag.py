"""Jobs read from snakemake's dry run: from made-up output, and once from a real one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from switchyard.errors import InputError
from switchyard.planning.dag import ROOT, Dag, Job, dry_run, parse

OUTPUT = """\
Building DAG of jobs...
Job stats:
job            count
-----------  -------
prepare            1
train              2
all                1
total              4


[Sat Jan  1 00:00:00 2000]
rule prepare:
    input: data/text.parquet
    output: a.parquet, a.json
    jobid: 2
    benchmark: logs/prepare.tsv
    resources: tmpdir=/tmp
[Sat Jan  1 00:00:00 2000]
localrule train:
    input: a.parquet
    output: m1
    jobid: 3
    wildcards: model=one, part=x
    threads: 4
    resources: tmpdir=/tmp, mem_mb=1500, mem=1.5 GB, gpu_mem_gb=3, name=<TBD>
[Sat Jan  1 00:00:00 2000]
group job 5a1c (jobs in lexicogr. order):

    [Sat Jan  1 00:00:00 2000]
    rule train:
        input: a.parquet, m1
        output: m2
        jobid: 4
        wildcards: model=two
        resources: mem_mb=1500
[Sat Jan  1 00:00:00 2000]
rule all:
    input: m1, m2
    jobid: 0
Job stats:
job            count
-----------  -------
prepare            1
train              2
all                1
total              4

Reasons:
    (check individual jobs above for details)
This was a dry-run (flag -n). The order of jobs does not reflect the order of execution.
"""


def test_jobs_are_read_with_everything_they_ask_for():
    assert parse(OUTPUT).jobs == (
        Job("prepare", {}, 1, {}, ("data/text.parquet",), ("a.parquet", "a.json"), "logs/prepare.tsv"),
        Job(
            "train",
            {"model": "one", "part": "x"},
            4,
            {"mem_mb": 1500, "gpu_mem_gb": 3},
            ("a.parquet",),
            ("m1",),
        ),
        Job("train", {"model": "two"}, 1, {"mem_mb": 1500}, ("a.parquet", "m1"), ("m2",)),
    )


@pytest.mark.parametrize("text", ["", "Building DAG of jobs...\nNothing to be done (all files present).\n"])
def test_nothing_to_be_done_is_no_job(text):
    assert parse(text).jobs == ()


@pytest.mark.parametrize(
    "broken",
    [
        OUTPUT.replace("localrule train:", "task train:"),
        OUTPUT.replace("train              2", "train              3"),
        OUTPUT.replace("prepare            1\n", ""),
    ],
)
def test_an_output_of_another_form_is_refused(broken):
    with pytest.raises(InputError, match="jobs of rule"):
        parse(broken)


def test_the_longest_chain_waits_for_what_it_reads():
    dag = parse(OUTPUT)
    assert dag.before == [[], [0], [0, 1]]
    assert dag.longest([1.0, 10.0, 100.0]) == 111.0
    assert dag.longest([5.0, 0.0, 0.0]) == 5.0
    assert Dag(()).longest([]) == 0.0


def test_a_long_chain_is_no_recursion():
    jobs = tuple(Job("step", inputs=(str(place + 1),), outputs=(str(place),)) for place in range(5000))
    assert Dag(jobs).longest([1.0] * 5000) == 5000


def test_a_real_dry_run_beside_a_running_one_touches_nothing(tmp_path: Path):
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("results/smoke/study.duckdb\n")
    kept = tmp_path / "results" / "smoke" / "keep"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    profile = ["--profile", str(ROOT / "profiles" / "slurm")]  # evaluations are group jobs
    dag = dry_run(directory=tmp_path, study=ROOT / "studies" / "smoke.yaml", cores=3, extra=profile)
    assert sum(job.rule == "evaluate_experiment" for job in dag.jobs) == 9
    speed = next(job for job in dag.jobs if job.rule == "measure_speed")
    assert speed.threads == 1 and speed.benchmark == "results/smoke/job-logs/measure_speed.tsv"
    shard = next(job for job in dag.jobs if job.rule == "observe_shard")
    assert shard.wildcards["model"] == "pocket-olmoe" and shard.resources["mem_mb"] > 0
    assert dag.longest([1.0] * len(dag.jobs)) > 5
    assert [path.name for path in (tmp_path / "results").rglob("*") if path.is_file()] == ["keep"]
    assert os.listdir(locks) == ["0.output.lock"]


def test_a_refused_study_is_one_line(tmp_path: Path):
    (tmp_path / "bad.yaml").write_text("study: bad\nevaluation: {model: none}\n")
    with pytest.raises(InputError) as caught:
        dry_run(directory=tmp_path, study=tmp_path / "bad.yaml", cores=1)
    assert str(caught.value).startswith("config: evaluation.model: 'none' is no model")
    assert "\n" not in str(caught.value)
