"""The SQL of the findings against plain loops, and the file that keeps them."""

import dataclasses
import io
import json
import math

import pandas as pd
import pyarrow as pa
import pytest

from reference import findings as reference
from reference.damage import flip_bit
from switchyard.artifacts.files import write_table
from switchyard.errors import InputError
from switchyard.reporting.findings import TABLES, derive, findings, meanings, write_findings
from switchyard.warehouse.study_tables import FILES


def rows_of(connection, level, **wanted):
    return [
        row
        for row in findings(connection)
        if row["level"] == level and all(row[name] == value for name, value in wanted.items())
    ]


def same(found, expected):
    if isinstance(expected, float) and found is not None:
        return math.isclose(found, expected, rel_tol=1e-12, abs_tol=1e-15)
    return found == expected


@pytest.mark.parametrize(
    ("outcome", "shape"),
    [
        ("loses", {"controls": True}),
        ("wins", {"controls": True, "caps": (8, 16), "others": True}),
        ("tied", {"caps": (8,), "alphas": (0.5,), "datasets": ("cloze",)}),
        ("varied", {"controls": True, "datasets": ("held_out_text",)}),
        ("varied", {"factors": True, "alphas": (0.3,)}),
        ("loses", {"alphas": ()}),
    ],
)
def test_every_count_and_range_is_what_loops_give(made_up, derived, outcome, shape):
    tables = made_up(outcome, **shape)
    connection = derived(tables)
    rows = reference.experiments(tables)
    found = {
        (row["role"], row["set_name"], row["config_name"]): row
        for row in findings(connection)
        if row["level"] != "experiment"
    }
    places = dict(reference.groups(rows))
    assert found.keys() == places.keys()
    for place, own in places.items():
        for name, value in reference.counts(own).items():
            assert same(found[place][name], value), (place, name, found[place][name], value)
    for role in ("static", "adaptive"):
        picked = [
            row["config_name"] for row in rows_of(connection, "configuration", role=role) if row["pick"]
        ]
        assert (picked or [None]) == [reference.pick(rows, role)]


def test_verdicts_of_all_sorts_random_counts_and_slow_rules(
    made_up, derived, split_verdicts, with_random_counts
):
    tables = with_random_counts(split_verdicts(made_up(controls=True, caps=(8, 16), alphas=(0.3, 0.6))))
    slow = tables.overall["config_name"] == "8experts_bh_a030"
    speed = tables.overall["tokens_per_second"]
    tables = dataclasses.replace(
        tables, overall=tables.overall.assign(tokens_per_second=speed.mask(slow, speed / 4))
    )
    found = {row["role"]: row for row in rows_of(derived(tables), "role")}
    for role, own in found.items():
        expected = reference.counts([row for row in reference.experiments(tables) if row["role"] == role])
        assert all(same(own[name], value) for name, value in expected.items())
    assert found["adaptive"]["slower_than_trained"] == 1 and found["adaptive"]["random_comparisons"] == 36
    assert found["adaptive"]["loss_answer"] == "mixed"


def test_a_model_is_not_touched_by_another(made_up, derived):
    wide, small = made_up("varied", controls=True), made_up("wins", caps=(8,), alphas=(0.5,))
    both = findings(derived({"wide": wide, "small": small}))
    for name, tables in (("wide", wide), ("small", small)):
        alone = findings(derived({name: tables}))
        own = [row for row in both if row["model"] == name]
        for row in (*own, *alone):
            row.pop("model_order")
        assert own == alone


def test_an_interval_that_is_not_defined_decides_nothing(made_up, derived):
    tables = made_up()
    blank = tables.differences.assign(loss_difference_low=float("nan"), loss_difference_high=float("nan"))
    rows = rows_of(derived(dataclasses.replace(tables, differences=blank)), "experiment", role="adaptive")
    assert {row["trained_verdict"] for row in rows} == {"undecided"}


def test_static_rules_stand_first_by_their_k_and_texts_before_tasks(made_up, derived):
    rows = rows_of(derived(made_up(controls=True)), "experiment")
    assert [row["label"] for row in rows[::3]][:12] == [
        *(f"top-{k}" for k in (1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64)), "BH α 0.30, max 8",
    ]  # fmt: skip
    assert [row["dataset"] for row in rows[:3]] == ["held_out_text", "choice", "cloze"]


def test_the_file_reads_back_to_the_digit_and_every_column_is_explained(made_up, derived, tmp_path):
    connection = derived(made_up("varied", controls=True))
    write_findings(tmp_path / "findings.csv", connection, {"code": "abc"})
    back = pd.read_csv(io.StringIO((tmp_path / "findings.csv").read_text()), float_precision="round_trip")
    rows = pd.DataFrame(findings(connection))
    for column in ("loss_difference", "trained_cost", "speedup"):
        assert list(back[column].dropna()) == list(rows[column].dropna())
    beside = json.loads((tmp_path / "findings.csv.provenance.json").read_text())
    assert beside["code"] == "abc" and beside["columns"] == meanings(connection)
    assert list(rows) == list(back)
    assert set(meanings(connection)) == set(back)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match="configurations.parquet: no such table; run the aggregate stage"):
        derive(tmp_path)


@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_table_is_named(made_up, tmp_path, table):
    for name, file in FILES.items():
        path = tmp_path / f"{file}.parquet"
        write_table(path, pa.Table.from_pandas(getattr(made_up(controls=True), name), preserve_index=False))
    flip_bit(tmp_path / f"{table}.parquet")
    with pytest.raises(InputError, match=f"{table}.parquet: is damaged"):
        derive(tmp_path)
