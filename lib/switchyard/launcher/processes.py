"""Run a command that dies with this process."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_PR_SET_PDEATHSIG = 1


def run(command: list[str], *, folder: Path, environment: dict[str, str]) -> int:
    """Run `command` in a session of its own, without input; return its exit code, -n where signal n ended it.

    The signals that ask this process to end are passed on to the whole session, the second one as SIGKILL. If this
    process is killed, the kernel kills the command (Linux).
    """
    received: list[int] = []
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_parent,
    )

    def forward(number: int, _: object) -> None:
        os.killpg(child.pid, signal.SIGKILL if received else number)
        received.append(number)

    for number in FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, forward)
    code = child.wait()
    return -received[0] if received and code else code


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
