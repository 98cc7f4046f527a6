"""Damaged files are refused by name when the warehouse is built or read."""

from __future__ import annotations

import pytest

from reference.damage import flip_bit, truncate
from reference.synthetic_study import FILES, Study
from switchyard.errors import InputError


def flip_bit_in_last_column(path) -> None:
    flip_bit(path, -1)  # of a trace, the router logits


@pytest.mark.parametrize("damage", [flip_bit, flip_bit_in_last_column, truncate])
@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_trace_or_score_file_is_refused_by_name(study: Study, kind: str, damage) -> None:
    head = study.add("8experts_bh_a030")
    damage(head[kind])
    with pytest.raises(InputError, match="is damaged .*; fetch or make it again") as caught:
        study.build()
    assert str(caught.value).startswith(f"{head[kind]}: is damaged (")
    assert not study.database.exists()


@pytest.mark.parametrize("damage", [flip_bit, truncate])
def test_a_damaged_database_is_refused_by_name(study: Study, damage) -> None:
    study.add("8experts_bh_a030")
    study.build()
    damage(study.database)
    with pytest.raises(InputError, match="is damaged"):
        for table in study.query("SHOW TABLES"):
            study.query(f"SELECT count(*), min(COLUMNS(*)) FROM {table['name']}")
