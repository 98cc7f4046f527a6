"""Impossible results are refused: each invariant is broken on purpose, in the files or in the database."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reference.synthetic_study import Study
from switchyard.errors import InputError
from switchyard.warehouse.invariants import ImpossibleResult, refuse_impossible


def rewrite(path, change):
    """Write the file again with its rows changed by `change(row)`; a row that becomes None is dropped."""
    table = pq.read_table(path)
    kept = [row for row in map(change, table.to_pylist()) if row is not None]
    pq.write_table(pa.Table.from_pylist(kept, schema=table.schema), path)


def first_row(changes):
    return lambda row: row | changes if (row["sample_id"], row.get("position", 0)) == (0, 0) else row


def without_one(row):
    here = row["sample_id"], row["position"], row["layer"]
    return None if here == (2, 0, 1) else row


def in_another_layer(row):
    return row | {"layer": 5} if (row["sample_id"], row["layer"]) == (2, 2) else row


BROKEN_FILES = {
    "experts outside the model": (
        "trace",
        first_row({"count": 1, "experts": [77], "weights": [1.0]}),
        "sum of expert uses",
    ),
    "count unlike its list": ("trace", first_row({"count": 4, "experts": [1]}), "sum of expert uses"),
    "count above max_k": ("trace", first_row({"count": 5, "experts": [0, 1, 2, 3, 4]}), "max_experts"),
    "count below min_k": ("trace", first_row({"count": 0, "experts": []}), "min_experts"),
    "row of a layer missing": ("trace", without_one, "tokens of the emptiest layer"),
    "layer the model lacks": ("trace", in_another_layer, "layers in the trace is 4"),
    "logits that are no numbers": (
        "trace",
        first_row({"router_logits": [float("nan")] * 6}),
        "routing_entropy",
    ),
    "rows the run lacks": ("trace_repeat", first_row({"position": 99}), "rows of the repeat trace"),
    "tokens unlike the trace": ("scores", first_row({"tokens": 10}), "samples whose tokens differ"),
    "tokens of other samples": (
        "scores",
        lambda row: row | {"tokens": {1: 5, 2: 4}.get(row["sample_id"], row["tokens"])},
        "samples whose tokens differ between trace and scores is 2",
    ),
    "loss that is no number": ("scores", first_row({"loss": float("nan")}), "loss of a sample"),
    "loss without bound": ("scores", first_row({"loss": float("inf")}), "loss of a sample"),
    "loss below zero": ("scores", first_row({"loss": -0.5}), "smallest loss of a sample"),
    "loss missing": ("scores", first_row({"loss": None}), "samples without a loss"),
    "answer missing": ("scores", first_row({"correct": None}), "samples without an answer"),
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_broken_files(study, name):
    file, change, words = BROKEN_FILES[name]
    head = study.add("4experts_bh_a030", "words", kind="cloze")
    rewrite(head[file], change)
    with pytest.raises(ImpossibleResult, match=words) as refusal:
        study.build()
    assert str(refusal.value).startswith("tiny 4experts_bh_a030 on words: ")
    assert "\n" not in str(refusal.value) and "evaluate it again" in str(refusal.value)
    assert not study.database.exists() and list(study.folder.rglob("*.part*")) == []


BROKEN_TABLES = {
    "metrics": [
        *[
            (name, value)
            for name in (
                "avg_task_accuracy",
                "expert_activation_ratio",
                "expert_utilization",
                "gini_coefficient",
                "ceiling_hit_rate",
                "floor_hit_rate",
                "expert_overlap_score",
                "output_determinism",
            )
            for value in (-0.01, 1.01, np.nan)
        ],
        ("selection_entropy", np.log(4) + 1e-6),
        ("layer_consistency_score", -1.1),
        ("perplexity", 0.9),
        ("perplexity", np.inf),
    ],
    "quality": [
        ("acc", 1.5),
        ("mid_rate", -0.1),
        ("no_rejection_rate", 1.5),
        ("cut_by_cap_rate", 1.5),
        ("trained_top_k_jaccard", 1.5),
        ("routing_entropy", np.log(6) + 1e-6),
        ("max_routing_entropy", np.log(6) + 1e-6),
        ("min_routing_entropy", -1e-6),
        ("avg_experts", 0.99),
        ("avg_experts", 4.01),
    ],
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A connection to a sound database that tests may break and roll back."""
    study = Study(tmp_path_factory.mktemp("study"))
    study.add("4experts_bh_a030", "words", kind="cloze")
    study.build()
    with duckdb.connect(study.database) as connection:
        yield connection


@pytest.mark.parametrize(
    ("table", "column", "value"), [(table, *one) for table, some in BROKEN_TABLES.items() for one in some]
)
def test_broken_tables(sound, table, column, value):
    refuse_impossible(sound)
    sound.execute("BEGIN")
    sound.execute(f"UPDATE {table} SET {column} = ?", [float(value)])
    with pytest.raises(ImpossibleResult, match=column):
        refuse_impossible(sound)
    sound.execute("ROLLBACK")


def test_shares_must_sum_to_one(sound):
    sound.execute("BEGIN")
    sound.execute("UPDATE quality SET mid_rate = mid_rate / 2")
    with pytest.raises(ImpossibleResult, match=r"ceiling_hit_rate \+ floor_hit_rate \+ mid_rate"):
        refuse_impossible(sound)
    sound.execute("ROLLBACK")


def test_missing_file_and_foreign_file(study, tmp_path_factory):
    head = study.add("4experts_bh_a030")
    own = head["trace"]
    head["trace"] = study.folder / "nowhere.parquet"
    with pytest.raises(InputError, match="no such file"):
        study.build()
    head["trace"] = tmp_path_factory.mktemp("other") / "t.parquet"
    head["trace"].write_bytes(own.read_bytes())
    with pytest.raises(InputError, match="outside the study's folder"):
        study.build()
