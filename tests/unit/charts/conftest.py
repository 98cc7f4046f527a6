"""Made-up tables for the figures' tests."""

import pytest

from reference import made_up_study
from switchyard.warehouse.study_tables import Tables


@pytest.fixture(scope="session")
def made_up():
    """A function: outcome and shape of a study -> its Tables, with numbers that are true of nothing."""
    return lambda outcome="loses", **shape: Tables(**made_up_study.tables(outcome, **shape))
