"""A SLURM cluster on this machine, for tests: two nodes, two pretended GPUs, no database. Needs root and Debian.

    PYTHONPATH=tests .venv/bin/python -m slurm.cluster      until Ctrl-C, for trials by hand

Node `n1` has no GPU and node `n2` has two that are really /dev/null. Both are daemons of this machine, so that what
jobs write is seen at once everywhere. A job that takes more memory than it asked for is killed, as on most sites.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
NODES = ("n1", "n2")
ETC = Path("/etc/slurm")
MUNGE_PID = Path("/run/munge/munged.pid")
PATIENCE_S = 60

SLURM_CONF = """\
ClusterName=switchyard
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort=17001
AuthType=auth/munge
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
EnforcePartLimits=ALL
MinJobAge=3600
KillWait=2
StateSaveLocation={state}/state
SlurmdSpoolDir={state}/spool-%n
SlurmctldPidFile={state}/run/slurmctld.pid
SlurmdPidFile={state}/run/slurmd-%n.pid
SlurmctldLogFile={state}/log/slurmctld.log
SlurmdLogFile={state}/log/slurmd-%n.log
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port=17003 CPUs=2 RealMemory=16000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port=17004 CPUs=2 RealMemory=16000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=24:00:00 State=UP
PartitionName=gpu Nodes=n2 MaxTime=24:00:00 State=UP
"""


def why_not() -> str | None:
    """Why there can be no cluster here, or None; looks only."""
    if os.geteuid() != 0:
        return "SLURM's daemons need root"
    if not is_installed() and shutil.which("apt-get") is None:
        return f"{', '.join(PACKAGES)} are not installed, and there is no apt-get to install them"
    if (ETC / "slurm.conf").exists():
        return f"{ETC}/slurm.conf is there: this machine belongs to a cluster already"
    return None


def is_installed() -> bool:
    return all(shutil.which(command) for command in ("slurmctld", "slurmd", "sbatch", "munged"))


def install() -> str | None:
    """Install SLURM where it is missing; why that failed, or None."""
    if is_installed():
        return None
    command = ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:  # a fresh image has no package lists yet
        subprocess.run(["apt-get", "update"], capture_output=True, check=False)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return (
        None
        if done.returncode == 0
        else f"apt-get could not install SLURM: {done.stderr.strip().splitlines()[-1:]}"
    )


@contextmanager
def cluster(state: Path) -> Iterator[None]:
    """Run the daemons, their state in the folder `state`, until the block ends; all jobs end with them."""
    for folder in ("state", "log", "run"):
        (state / folder).mkdir(parents=True)
    host = socket.gethostname().split(".")[0]
    (state / "slurm.conf").write_text(SLURM_CONF.format(host=host, state=state))
    (state / "gres.conf").write_text(f"NodeName=n2 Name=gpu File={state}/gpu[0-1]\n")
    for number in range(2):
        os.mknod(state / f"gpu{number}", 0o666 | 0o020000, os.makedev(1, 3))
    # A job's steps lose SLURM_CONF from their environment: the files must lie where SLURM looks for them.
    ETC.mkdir(exist_ok=True)
    links = [ETC / "slurm.conf", ETC / "gres.conf"]
    try:
        for link in links:
            link.symlink_to(state / link.name)
        start(state)
        yield
    finally:
        stop(state)
        for link in links:
            link.unlink(missing_ok=True)


def start(state: Path) -> None:
    """Start munge's daemon unless it runs, the controller and a daemon for each node; wait until both are idle."""
    if not succeeds("munge", "-n"):
        MUNGE_PID.parent.mkdir(exist_ok=True)
        shutil.chown(MUNGE_PID.parent, "munge", "munge")
        command("runuser", "-u", "munge", "--", "munged", f"--pid-file={MUNGE_PID}")
        wait_for(lambda: succeeds("munge", "-n"), "munge")
        (state / "run" / "munged.pid").symlink_to(MUNGE_PID)  # ours to end
    command("slurmctld")
    for node in NODES:
        command("slurmd", "-N", node)
    wait_for(lambda: states() == dict.fromkeys(NODES, "idle"), "two idle nodes")


def stop(state: Path) -> None:
    """Cancel all jobs and end the daemons."""
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["scancel", "--user=root"], capture_output=True, timeout=10, check=False)
        wait_for(lambda: not jobs(), "the end of all jobs", patience_s=10)
    for file in (state / "run").glob("*.pid"):
        with suppress(OSError, ValueError):
            os.kill(int(file.read_text()), signal.SIGTERM)
    wait_for(lambda: not list((state / "run").glob("slurm*.pid")), "the end of the daemons", patience_s=10)


def command(*words: str) -> str:
    """Standard output of a command that must succeed."""
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout


def succeeds(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False, timeout=PATIENCE_S).returncode == 0


def wait_for(condition: Callable[[], bool], what: str, *, patience_s: float = PATIENCE_S) -> None:
    """Return when the condition is true; `TimeoutError` if that takes too long."""
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come within {patience_s} s")
        time.sleep(0.2)


def states() -> dict[str, str]:
    """State of each node, as `sinfo` prints it."""
    lines = subprocess.run(
        ["sinfo", "-h", "-N", "-o", "%N %t"], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    return dict(line.split() for line in lines)


def jobs(*, running: bool = False) -> list[dict[str, str]]:
    """Jobs that wait or run: `id`, `state`, `comment` (snakemake's rule and wildcards), `node`."""
    words = ["squeue", "-h", "-o", "%A|%T|%k|%N"] + (["-t", "RUNNING"] if running else [])
    lines = command(*words).splitlines()
    return [
        dict(zip(("id", "state", "comment", "node"), line.split("|"), strict=True)) for line in lines if line
    ]


def accounts() -> list[dict[str, str]]:
    """Every job that the controller remembers, with all that `scontrol` tells of it."""
    text = command("scontrol", "--oneliner", "show", "job")
    return [
        dict(word.split("=", 1) for word in line.split() if "=" in word)
        for line in text.splitlines()
        if "JobId=" in line
    ]


if __name__ == "__main__":
    import tempfile

    if reason := why_not() or install():
        raise SystemExit(f"no cluster here: {reason}")
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with cluster(Path(folder)):
            print(
                f"two nodes are idle; state in {folder}; Ctrl-C ends them", json.dumps(states()), flush=True
            )
            signal.pause()
