"""The default study as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from switchyard.study import config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return config.read(ROOT / "config.schema.yaml")


@pytest.fixture
def default() -> dict[str, Any]:
    return config.read(ROOT / "config.yaml")
