"""A finished smoke study in a checkout of its own, made once for all tests that look at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from workflow.checkout import copy_checkout, run_study


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the smoke study finished, its report included. Tests must leave it as it is."""
    checkout = copy_checkout(tmp_path_factory.mktemp("smoke"))
    ran = run_study(checkout)
    assert ran.returncode == 0, ran.stderr[-4000:] + ran.stdout[-2000:]
    return checkout
