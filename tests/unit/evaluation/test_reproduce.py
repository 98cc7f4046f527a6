"""Repeating an experiment: what is read of a stamp, which inputs are others, where values differ."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from switchyard.artifacts.files import write_table
from switchyard.artifacts.stamps import library_versions, sha256_file
from switchyard.errors import InputError
from switchyard.evaluation.reproduce import (
    Difference,
    changed_inputs,
    changed_libraries,
    inputs_of,
    recorded,
    table_differences,
)
from switchyard.models.load import folder_digest
from switchyard.study.experiment import Experiment, ExperimentConfig, Run

IT = Experiment(
    study="tiny",
    model="one",
    config="4experts_bh_a030",
    dataset="text",
    rule="bh",
    home="switchyard.routing.bh:BenjaminiHochberg",
    settings={"alpha": 0.3, "max_k": 4},
    model_entry={"dtype": "float32"},
    dataset_entry={"max_length": 8, "samples": 2},
    run=Run(batch_tokens=16, threads=1, keep_logits=True, spelled_out_samples=None),
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The summary of an experiment among its inputs."""
    model = tmp_path / "prepare/models/one"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    for place in ("prepare/datasets/text.parquet", "calibrate/one/nulls.parquet"):
        (tmp_path / place).parent.mkdir(parents=True)
        write_table(tmp_path / place, pa.table({"text": ["a"]}))
    inputs = {
        "model": folder_digest(model),
        "dataset": sha256_file(tmp_path / "prepare/datasets/text.parquet"),
        "nulls": sha256_file(tmp_path / "calibrate/one/nulls.parquet"),
    }
    made = {
        "experiment": IT.as_json(),
        "inputs": inputs,
        "libraries": {**dict(library_versions()), "torch": "1.0"},
    }
    path = tmp_path / "evaluate/one/logs/4experts_bh_a030_text.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"provenance": made}))
    return path


def test_an_experiment_survives_json() -> None:
    assert ExperimentConfig.from_json(IT.to_json()) == IT
    assert ExperimentConfig.from_json(IT.as_json()) == IT


def test_inputs_with_another_digest_are_named(log: Path, tmp_path: Path) -> None:
    one = recorded(log)
    assert one.experiment == IT and one.results == tmp_path
    files = inputs_of(one)
    assert changed_inputs(one, files) == []
    write_table(tmp_path / "calibrate/one/nulls.parquet", pa.table({"text": ["b"]}))
    (files["model"] / "config.json").write_text('{"top_k": 2}')
    assert changed_inputs(one, files) == ["model", "nulls"]
    assert changed_libraries(one) == {"torch": ("1.0", dict(library_versions())["torch"])}


def test_what_cannot_be_repeated_is_refused(log: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; give a file of results"):
        recorded(tmp_path / "none.json")
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(InputError, match="no stamp of an experiment"):
        recorded(tmp_path / "other.json")
    (tmp_path / "moved.json").write_text(log.read_text())
    with pytest.raises(InputError, match="outside the results folder of a study"):
        recorded(tmp_path / "moved.json")
    (tmp_path / "calibrate/one/nulls.parquet").unlink()
    with pytest.raises(InputError, match="nulls.parquet: no such file; run the study again"):
        inputs_of(recorded(log))


def test_values_are_compared_bit_for_bit() -> None:
    table = pa.table({"row": [0, 1, 2], "loss": [0.1, float("nan"), None], "experts": [[1, 2], [3], []]})
    assert list(table_differences("scores", table, table)) == []
    nearly = pa.table(
        {"row": [0, 1, 2], "loss": [0.1 + 1e-16 * 2, float("nan"), None], "experts": [[1, 2], [3], [4]]}
    )
    assert list(table_differences("scores", table, nearly)) == [
        Difference("scores", "loss", 1, 0),
        Difference("scores", "experts", 1, 2),
    ]
    assert [one.column for one in table_differences("scores", table, table.drop_columns("row"))] == ["row"]
    assert {one.rows for one in table_differences("scores", table, table.slice(1))} == {3}
