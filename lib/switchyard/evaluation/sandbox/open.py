"""The sandbox of a machine: the strongest walls that hold here, or none and a refusal."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from switchyard.errors import InputError
from switchyard.evaluation.sandbox.candidate import NotStarted, Sandbox
from switchyard.evaluation.sandbox.limits import Limits
from switchyard.evaluation.sandbox.proof import check, prove
from switchyard.evaluation.sandbox.stage import Stage, staged
from switchyard.evaluation.sandbox.walls import Bubblewrap, Landlock, Walls

log = logging.getLogger(__name__)

KINDS: tuple[Walls, ...] = (Bubblewrap(), Landlock())
"""From the strongest."""


class Proved(NamedTuple):
    """A sandbox whose walls were tried, and what stands in the stamp of its results."""

    sandbox: Sandbox
    stamp: dict[str, Any]


@contextmanager
def opened(limits: Limits, kinds: Sequence[Walls] = KINDS) -> Iterator[Proved]:
    """The first of `kinds` that can be had, every wall of it tried.

    Raises:
        InputError: none can be had, or a wall does not hold.
    """
    with staged() as stage:
        proved = _first(stage, limits, kinds)
        if proved.sandbox.walls.name != kinds[0].name or proved.sandbox.walls.name == Landlock.name:
            log.warning("sandbox: %s", proved.sandbox.walls.guarantee)
        yield proved


def _first(stage: Stage, limits: Limits, kinds: Sequence[Walls]) -> Proved:
    reasons = []
    for walls in kinds:
        if walls.name == Bubblewrap.name and shutil.which("bwrap") is None:
            reasons.append("bubblewrap is not installed (apt install bubblewrap)")
            continue
        sandbox = Sandbox(walls, stage, limits)
        try:
            found = prove(sandbox)
        except NotStarted as error:
            reasons.append(str(error).removeprefix("sandbox: "))
            log.warning("%s", error)
            continue
        check(found, walls.name)
        return Proved(
            sandbox,
            {"kind": walls.name, "guarantee": walls.guarantee, "limits": limits.as_json(), "walls": found},
        )
    raise InputError(
        f"sandbox: no code is executed on this machine: {'; '.join(reasons)}; install bubblewrap and allow user "
        "namespaces, or use a kernel with Landlock (5.13 or later)"
    )
