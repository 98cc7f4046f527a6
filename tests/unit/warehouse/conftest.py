from __future__ import annotations

import pytest

from reference.synthetic_study import Study


@pytest.fixture
def study(tmp_path):
    """An empty study folder."""
    return Study(tmp_path)
