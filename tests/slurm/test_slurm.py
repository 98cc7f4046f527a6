"""The smoke study on a real SLURM, through faults, against the same study on this machine: `make slurm-test`.

One run meets them all: a job is cancelled, another gets too little memory at its first attempt, the node of a third is
drained, that of a fourth goes down. Says why and skips where there can be no cluster.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest
import yaml
from numpy.testing import assert_allclose

from slurm import cluster
from workflow.checkout import GPU_RULES, RESULTS, STUDY, copy_checkout, launcher_command
from workflow.kill import check_same_results

PROFILE = ["--", "--profile", "profiles/slurm"]
# The first look at a job after a second; the least memory that fit_nulls could never do with.
FOR_THE_TEST = ["--slurm-init-seconds-before-status-checks", "1", "--set-resources"]
TOO_LITTLE = "fit_nulls:mem_mb=100 if attempt == 1 else 3000"
LIGHT_RULES = {
    "prepare_dataset",
    "prepare_corpus",
    "fetch_model",
    "write_tables",
    "write_report",
    "draw_figures",
}


class Fault:
    """Something done to the first job of a rule that is seen running."""

    def __init__(self, rule: str, act: Callable[[dict[str, str]], None]) -> None:
        self.rule, self.act = rule, act
        self.job: str | None = None

    def meet(self, running: list[dict[str, str]]) -> None:
        job = next((job for job in running if self.rule in job["comment"]), None)
        if job and self.job is None:
            self.job = job["id"]
            self.act(job)


class Run(NamedTuple):
    """A finished run on the cluster."""

    checkout: Path
    code: int
    said: str
    jobs: list[dict[str, str]]
    faults: dict[str, Fault]

    def of(self, rule: str) -> list[dict[str, str]]:
        """All jobs of a rule, in the order of their submission."""
        return sorted((job for job in self.jobs if rule in job["Comment"]), key=lambda job: int(job["JobId"]))


def cancel(job: dict[str, str]) -> None:
    cluster.command("scancel", job["id"])


def drain(job: dict[str, str]) -> None:
    """What runs on the node goes on; nothing new begins there."""
    cluster.command("scontrol", "update", f"NodeName={job['node']}", "State=DRAIN", "Reason=test")


def down(job: dict[str, str]) -> None:
    """What runs on the node is lost."""
    cluster.command("scontrol", "update", f"NodeName={job['node']}", "State=DOWN", "Reason=test")


def repair() -> None:
    """Bring back a node that is down, and one that is drained and empty."""
    for node, state in cluster.states().items():
        if state in ("down", "drain"):
            cluster.command("scontrol", "update", f"NodeName={node}", "State=RESUME")


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if reason := cluster.why_not() or cluster.install():
        pytest.skip(f"no SLURM cluster here: {reason}")
    with cluster.cluster(tmp_path_factory.mktemp("cluster")):
        yield


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study without a cluster; and its observation once more, in one piece, as study `whole`."""
    checkout = copy_checkout(tmp_path_factory.mktemp("alone"))
    whole = yaml.safe_load((checkout / STUDY).read_text())
    whole["study"], whole["observation"]["shards"] = "whole", 1
    (checkout / "studies" / "whole.yaml").write_text(yaml.safe_dump(whole))
    for command in (launcher_command(), [*launcher_command("studies/whole.yaml"), "observe_all"]):
        ran = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=900)
        assert ran.returncode == 0, ran.stderr[-4000:]
    return checkout


@pytest.fixture(scope="session")
def run(nodes: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    checkout = copy_checkout(tmp_path_factory.mktemp("shared"))
    faults = {
        "cancelled": Fault("assess_model", cancel),
        "drained": Fault("cut_windows", drain),
        "down": Fault("merge_shards", down),
    }
    started = time.monotonic()
    with (checkout / ".said").open("w+") as said:
        command = [*launcher_command(), *PROFILE, *FOR_THE_TEST, TOO_LITTLE]
        launcher = subprocess.Popen(command, cwd=checkout, stdout=said, stderr=said)
        while launcher.poll() is None:
            running = cluster.jobs(running=True)
            for fault in faults.values():
                fault.meet(running)
            repair()
            time.sleep(0.3)
        said.seek(0)
        done = Run(checkout, launcher.returncode, said.read(), cluster.accounts(), faults)
    print(f"\nsmoke study on two SLURM nodes: {time.monotonic() - started:.0f} s, {len(done.jobs)} jobs")
    return done


def states(jobs: list[dict[str, str]]) -> list[str]:
    return [job["JobState"] for job in jobs]


def test_the_study_ends_with_its_report(run: Run) -> None:
    assert run.code == 0, run.said[-6000:]
    assert (run.checkout / RESULTS / "report.html").is_file()


def test_its_results_are_those_of_one_machine(run: Run, alone: Path) -> None:
    assert check_same_results(alone / RESULTS, run.checkout / RESULTS) > 30


def test_shards_on_the_cluster_add_up_to_one_run(run: Run, alone: Path) -> None:
    assert len([job for job in run.of("observe_shard") if job["JobState"] == "COMPLETED"]) == 2
    whole = alone / "results/whole/observe/pocket-olmoe"
    for path in sorted(whole.rglob("*.parquet")):
        other = run.checkout / RESULTS / "observe/pocket-olmoe" / path.relative_to(whole)
        one, two = pq.read_table(path), pq.read_table(other)
        assert one.schema.names == two.schema.names and len(one) == len(two), path
        for name in one.schema.names:
            left, right = one[name].to_pandas(), two[name].to_pandas()
            if left.dtype.kind == "f":
                assert_allclose(left, right, rtol=1e-9, atol=1e-12, err_msg=f"{path} {name}")
            else:
                assert left.map(str).equals(right.map(str)), (path, name)


def test_jobs_that_run_a_model_ask_for_a_gpu_and_no_others(run: Run) -> None:
    for job in run.jobs:
        asked = any(rule in job["Comment"] for rule in GPU_RULES)
        assert (job.get("TresPerJob") == "gres:gpu:1") == asked, job
        assert job["Partition"] == ("gpu" if asked else "main"), job


def test_light_rules_are_not_submitted(run: Run) -> None:
    assert not [job["Comment"] for job in run.jobs if any(rule in job["Comment"] for rule in LIGHT_RULES)]


def test_evaluations_share_a_job_and_a_model_in_memory(run: Run) -> None:
    """Eleven evaluations, two of them of the second model, whose turn comes at any time.

    The node that a test takes down may run some of them, which are then submitted again.
    """
    ended = states(run.of("evaluate_experiment"))
    assert ended[-1] == "COMPLETED" and set(ended) <= {"COMPLETED", "NODE_FAIL"}
    logs = list((run.checkout / RESULTS / "job-logs" / "evaluate_experiment").glob("*.log"))
    assert len(logs) == 12
    assert len([log for log in logs if "loading " in log.read_text()]) <= 5


def test_a_cancelled_job_is_submitted_again(run: Run) -> None:
    jobs = run.of("assess_model")
    assert [job["JobId"] for job in jobs][0] == run.faults["cancelled"].job
    assert sorted(states(jobs)) == ["CANCELLED", "COMPLETED", "COMPLETED"]  # two models


def test_a_job_out_of_memory_is_submitted_again_with_more(run: Run) -> None:
    jobs = run.of("fit_nulls")
    first = [job for job in jobs if "mem=100M" in job["TRES"]]
    again = [job for job in jobs if "mem=3000M" in job["TRES"]]
    assert states(first) == ["FAILED"] * 2 and states(again) == ["COMPLETED"] * 2, jobs
    for job in first:
        (log,) = run.checkout.glob(f".snakemake/slurm_logs/*fit_nulls*/**/{job['JobId']}.log")
        assert "exceeded memory limit" in log.read_text()


def test_a_drained_node_finishes_its_job(run: Run) -> None:
    assert run.faults["drained"].job is not None
    assert states(run.of("cut_windows")) == ["COMPLETED"]


def test_a_job_that_lost_its_node_is_submitted_again(run: Run) -> None:
    jobs = run.of("merge_shards")
    assert jobs[0]["JobId"] == run.faults["down"].job
    assert states(jobs) == ["NODE_FAIL", "COMPLETED"]


def test_nothing_is_left_in_the_queue_or_half_written(run: Run) -> None:
    assert cluster.jobs() == []
    assert not [path for path in (run.checkout / RESULTS).rglob("*") if ".part" in path.name]
