"""One finished smoke study for all tests and all workers of pytest-xdist, and copies of it to change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from workflow import recorder
from workflow.checkout import copy_checkout, copy_study, run_study


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the smoke study finished, its report included. Tests must leave it as it is.

    The first worker that asks makes it, the others wait.
    """
    folder = tmp_path_factory.getbasetemp().resolve()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    checkout, made = folder / "smoke", folder / "smoke.made"
    with FileLock(folder / "smoke.lock"):
        if not checkout.exists():
            recorder.install(copy_checkout(checkout))
            ran = run_study(checkout)
            assert ran.returncode == 0, ran.stderr[-4000:] + ran.stdout[-2000:]
            made.touch()
    assert made.exists(), "the smoke study failed, in the first test that asked for it"
    return checkout


@pytest.fixture
def smoke_copy(smoke: Path, tmp_path: Path) -> Path:
    """A copy of the finished smoke study to change: snakemake finds nothing to do in it."""
    return copy_study(smoke, tmp_path / "copy")
