"""Jobs that a killed run left on a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchyard.errors import InputError
from switchyard.launcher import slurm

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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a run on a cluster was cut short; the cluster has six jobs, and no other commands are found first."""
    study = tmp_path / "study"
    (study / slurm.LOGS).mkdir(parents=True)
    (tmp_path / "queue").write_text(QUEUE.replace("/home/me", str(tmp_path)))
    (tmp_path / "cancelled").write_text("")
    command(tmp_path / "squeue", SQUEUE)
    command(tmp_path / "scancel", SCANCEL)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(slurm, "_PAUSES_S", (0.0, 0.0, 0.0))
    return study


def command(path: Path, text: str) -> None:
    path.write_text(text.format(folder=path.parent))
    path.chmod(0o755)


def test_they_are_cancelled_and_waited_for(folder: Path) -> None:
    assert slurm.cancel_left_behind(folder) == 2
    cancelled = (folder.parent / "cancelled").read_text().splitlines()
    assert [line.split("|")[0] for line in cancelled] == ["11", "12"]
    assert slurm.cancel_left_behind(folder) == 0


def test_a_job_that_does_not_end_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(folder.parent / "scancel", "#!/bin/sh\n")
    monkeypatch.setattr(slurm, "_PATIENCE_S", 0.1)
    with pytest.raises(InputError, match=f"jobs 11, 12 of an earlier run in {folder} do not end"):
        slurm.cancel_left_behind(folder)


def test_a_queue_that_cannot_be_seen_is_no_empty_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(folder.parent / "squeue", "#!/bin/sh\necho Unable to contact controller >&2\nexit 1\n")
    with pytest.raises(InputError, match=r"squeue does not answer \(Unable to contact controller\)"):
        slurm.cancel_left_behind(folder)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(InputError, match=r"squeue does not answer \(not found\)"):
        slurm.cancel_left_behind(folder)


def test_one_answer_that_fails_is_asked_for_again(folder: Path) -> None:
    once = "if [ ! -e {folder}/asked ]; then touch {folder}/asked; exit 1; fi\n"
    command(folder.parent / "squeue", SQUEUE.replace("#!/bin/sh\n", "#!/bin/sh\n" + once))
    assert slurm.cancel_left_behind(folder) == 2


def test_a_folder_without_a_run_on_a_cluster_asks_nobody(folder: Path) -> None:
    command(folder.parent / "squeue", "#!/bin/sh\nexit 1\n")
    (folder / slurm.LOGS).rmdir()
    assert slurm.cancel_left_behind(folder) == 0
