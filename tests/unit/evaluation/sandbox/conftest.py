"""The sandboxes that this machine can have."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from switchyard.evaluation.sandbox.candidate import NotStarted, Sandbox
from switchyard.evaluation.sandbox.limits import Limits
from switchyard.evaluation.sandbox.open import KINDS
from switchyard.evaluation.sandbox.stage import Stage, staged

LIMITS = Limits(seconds=0.7, memory_mb=256, files_mb=16)


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with staged() as folder:
        yield folder


@pytest.fixture(scope="session", params=KINDS, ids=lambda walls: walls.name)
def sandbox(request: pytest.FixtureRequest, stage: Stage) -> Sandbox:
    """Bubblewrap where it is installed and user namespaces are allowed, and the fallback."""
    if request.param.name == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed: apt install bubblewrap")
    made = Sandbox(request.param, stage, LIMITS)
    try:
        made.run("")
    except NotStarted as error:
        pytest.skip(str(error))
    return made
