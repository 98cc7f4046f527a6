"""A job's experiment: from what JSON holds to files that say everything about how they were made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from reference.experiments import TOPK, places
from switchyard.artifacts.digests import write_digests
from switchyard.artifacts.files import read_stamp, write_json, write_table
from switchyard.errors import InputError
from switchyard.evaluation.job import evaluate
from switchyard.models.blocks import describe
from switchyard.study.experiment import Experiment


@pytest.fixture
def prepared(model: Any, tokenizer: Any, tables: dict[str, pa.Table], tmp_path: Path) -> dict[str, str]:
    """A model folder and a dataset as the prepare stage leaves them."""
    folder = tmp_path / "prepare/models/tiny"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_json(folder / "structure.json", describe(model.config))
    write_digests(folder)
    write_table(tmp_path / "text.parquet", tables["perplexity"], {})
    return {"model": str(folder), "dataset": str(tmp_path / "text.parquet")}


def run(experiment: Experiment, prepared: dict[str, str], folder: Path) -> Any:
    """The job, its arguments sent through JSON as to a worker; the places of its files."""
    files = places(folder)
    arguments = {
        "experiment": experiment.as_json(),
        **prepared,
        "reads": {},
        "files": {name: str(path) for name, path in files._asdict().items()},
        "gpu_mem_gb": 1,
        "code": "abc",
    }
    evaluate(**json.loads(json.dumps(arguments)))
    return files


def test_every_stamp_holds_the_whole_experiment(prepared: dict[str, str], tmp_path: Path) -> None:
    files = run(TOPK, prepared, tmp_path)
    for path in files[:4]:
        head = read_stamp(path)
        stamp = head["provenance"]
        assert Experiment.from_json(stamp["experiment"]) == TOPK
        assert stamp["rule"]["k"] == 2 and stamp["code"] == "abc"
        assert (head["model"], head["config"], head["dataset"]) == ("tiny", TOPK.config, "made-up")
    log = json.loads(files.log.read_bytes())
    assert Experiment.from_json(log["provenance"]["experiment"]) == TOPK


def test_too_many_experts_leave_nothing(prepared: dict[str, str], tmp_path: Path) -> None:
    greedy = replace(TOPK, settings={"k": 9, "weighting": "model"})
    with pytest.raises(InputError, match="asks for 9 experts a token, tiny has 8"):
        run(greedy, prepared, tmp_path)
    assert [path for path in (tmp_path / "evaluate").rglob("*") if path.is_file()] == []
