"""Jobs that a killed run left on a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchyard import slurm
from switchyard.errors import InputError

QUEUE = """\
11|rule_observe_shard_wildcards_pocket-olmoe_0|/home/me/study
12|rule_evaluations_evaluate_experiment|/home/me/study
13|rule_fit_nulls_wildcards_m|/home/me/study2
14|my own work|/home/me/study
15||/home/me/study
"""

SQUEUE = """\
#!/bin/sh
grep -v -x -F -f {folder}/cancelled {folder}/queue
exit 0
"""

SCANCEL = """\
#!/bin/sh
for job in "$@"; do grep "^$job|" {folder}/queue >> {folder}/cancelled; done
"""


def test_jobs_of_the_workflow_in_this_folder_and_no_others() -> None:
    assert slurm.left_behind(QUEUE, Path("/home/me/study")) == ["11", "12"]
    assert slurm.left_behind(QUEUE, Path("/home/me")) == []
    assert slurm.left_behind("", Path("/home/me/study")) == []


def made_up_cluster(folder: Path, scancel: str) -> None:
    (folder / "queue").write_text(QUEUE)
    (folder / "cancelled").write_text("")
    for name, text in (("squeue", SQUEUE), ("scancel", scancel)):
        (folder / name).write_text(text.format(folder=folder))
        (folder / name).chmod(0o755)


def test_they_are_cancelled_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up_cluster(tmp_path, SCANCEL)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert slurm.cancel_left_behind(Path("/home/me/study")) == 2
    assert (tmp_path / "cancelled").read_text().splitlines() == QUEUE.splitlines()[:2]
    assert slurm.cancel_left_behind(Path("/home/me/study")) == 0


def test_a_job_that_does_not_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up_cluster(tmp_path, "#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(slurm, "_PATIENCE_S", 0.1)
    with pytest.raises(InputError, match="jobs 11, 12 of an earlier run in /home/me/study do not end"):
        slurm.cancel_left_behind(Path("/home/me/study"))


def test_without_a_cluster_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.cancel_left_behind(tmp_path) == 0
