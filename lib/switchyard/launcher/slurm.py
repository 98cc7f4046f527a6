"""Jobs of a SLURM cluster that a killed run has left behind: they would write beside those of the next run."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from switchyard.errors import InputError

COMMENT = "rule_"
"""How the comment begins that snakemake's executor gives a job."""

LOGS = Path(".snakemake/slurm_logs")
"""In the folder of a run: snakemake's executor makes it, and removes it once a run has succeeded."""

_QUEUE = ["squeue", "--me", "--noheader", "--format", "%A|%k|%Z"]
_PATIENCE_S = 60.0
_PAUSES_S = (1.0, 4.0, 0.0)


def cancel_left_behind(folder: Path) -> int:
    """Cancel this user's jobs that work for runs in `folder`, wait until they are gone, and return how many there were.

    Called while no run is alive there. Where no run has ended before its time on a cluster there are none.

    Raises:
        InputError: SLURM does not answer, or a job does not end.
    """
    found = alive = left_behind(_queue(), folder) if (folder / LOGS).is_dir() else []
    end = time.monotonic() + _PATIENCE_S
    while alive:
        subprocess.run(["scancel", *alive], capture_output=True, check=False)
        time.sleep(0.5)
        alive = [job for job in found if job in left_behind(_queue(), folder)]
        if alive and time.monotonic() > end:
            raise InputError(
                f"SLURM: jobs {', '.join(alive)} of an earlier run in {folder} do not end; "
                "wait for them, or have their nodes checked"
            )
    return len(found)


def left_behind(queue: str, folder: Path) -> list[str]:
    """Numbers of the jobs in squeue's lines `number|comment|folder` that a workflow in `folder` has submitted."""
    jobs = [line.split("|", 2) for line in queue.splitlines() if line.count("|") >= 2]
    return [
        job for job, comment, where in jobs if comment.startswith(COMMENT) and Path(where).resolve() == folder
    ]


def _queue() -> str:
    """What squeue prints; it is asked several times, because a busy controller drops some questions."""
    for pause_s in _PAUSES_S:
        try:
            return subprocess.run(_QUEUE, capture_output=True, text=True, check=True).stdout
        except FileNotFoundError:
            reason = "not found"
        except subprocess.CalledProcessError as error:
            reason = error.stderr.strip()
        time.sleep(pause_s)
    raise InputError(
        f"SLURM: squeue does not answer ({reason}), and jobs of an earlier run here may be alive; "
        f"try again where squeue answers, or remove {LOGS} if there are no such jobs"
    )
