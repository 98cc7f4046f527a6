"""The two kinds of walls: how a candidate's process is started within them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from switchyard.evaluation.sandbox.limits import Limits
from switchyard.evaluation.sandbox.stage import Stage

ORDINARY = 65534
"""User and group of a candidate when root starts it: root is exempt from the limit on processes."""

LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
"""Where the system's shared libraries lie."""

DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")

INTERPRETER = ("-s", "-S", "-B", "-P", "-X", "utf8")
"""No installed packages, nothing written, no module beside the script, UTF-8."""


class Start(NamedTuple):
    """How one process is started; the runner's own arguments follow."""

    command: list[str]
    environment: dict[str, str]
    landlock: str = ""
    """What the runner gives up itself: arguments of `runner.restrict` as JSON."""
    needs_filter: bool = False
    """Whether the command reads the seccomp filter from a file descriptor."""


class Walls(Protocol):
    """A kind of walls."""

    name: str
    guarantee: str

    def start(self, stage: Stage, filter_number: int, limits: Limits) -> Start:
        """How a candidate is started behind these walls."""


def ordinary_user() -> dict[str, Any]:
    """Arguments of `subprocess.Popen` by which a root user starts candidates as an ordinary one."""
    return {"user": ORDINARY, "group": ORDINARY, "extra_groups": []} if os.geteuid() == 0 else {}


def environment(python: str) -> dict[str, str]:
    """All variables that a candidate sees."""
    return {"LD_LIBRARY_PATH": f"{python}/lib", "PYTHONHASHSEED": "0"}


class Bubblewrap:
    """Namespaces of its own for everything: users, processes, network, files, communication, names."""

    name = "bubblewrap"
    guarantee = (
        "bubblewrap: own namespaces, no capabilities, no network, a read-only interpreter, a scratch folder of limited "
        "size, and a seccomp filter"
    )

    def start(self, stage: Stage, filter_number: int, limits: Limits) -> Start:
        """The command, which reads the filter from an open file of that number."""
        binds = [("--ro-bind", str(stage.python), "/python"), ("--ro-bind", str(stage.runner), "/runner.py")]
        for path in map(Path, LIBRARIES):
            if path.is_symlink():
                binds.append(("--symlink", os.readlink(path), str(path)))
            elif path.is_dir():
                binds.append(("--ro-bind", str(path), str(path)))
        binds += [("--dev-bind", device, device) for device in DEVICES]
        variables = [("--setenv", *pair) for pair in environment("/python").items()]
        command = [
            *(shutil.which("bwrap") or "bwrap", "--unshare-user", "--unshare-all", "--disable-userns"),
            *("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"),
            *("--uid", str(ORDINARY), "--gid", str(ORDINARY), "--hostname", "sandbox"),
            *(word for words in (*binds, *variables) for word in words),
            *("--size", str(limits.files_mb * 2**20), "--perms", "1777", "--tmpfs", "/tmp"),
            *("--remount-ro", "/", "--chdir", "/tmp", "--seccomp", str(filter_number), "--"),
            *("/python/bin/python", *INTERPRETER, "/runner.py"),
        ]
        return Start(command, {}, needs_filter=True)


class Landlock:
    """For systems without user namespaces: no files but the interpreter's, and the same seccomp filter."""

    name = "landlock"
    guarantee = (
        "Landlock and seccomp, the weaker of two guarantees: no network, no other process, no files but the "
        "interpreter's and no scratch folder, but the host's own process numbers and names, and no protection from "
        "faults of calls that the filter lets through"
    )

    def start(self, stage: Stage, filter_number: int, limits: Limits) -> Start:
        """The command; the runner restricts itself before the candidate begins."""
        landlock = {
            "package": str(stage.packages),
            "readable": [str(stage.python), *(path for path in LIBRARIES if Path(path).is_dir())],
            "devices": list(DEVICES),
            "seccomp": str(stage.filter),
        }
        command = [f"{stage.python}/bin/python", *INTERPRETER, str(stage.runner)]
        return Start(command, environment(str(stage.python)), json.dumps(landlock))
