"""One experiment from a loaded model to its five files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from reference.experiments import EXPERIMENTS, places
from reference.tiny import tiny_model
from switchyard.artifacts.files import read_stamp
from switchyard.errors import InputError
from switchyard.evaluation.run import Files, write_experiment
from switchyard.models.blocks import describe
from switchyard.routing.bh import BenjaminiHochberg
from switchyard.routing.nulls import NullDistribution
from switchyard.routing.topk import TopK

NULLS = [NullDistribution(np.array([-3.0, 3.0]), np.array([0.0, 1.0]))] * 2


def run(
    folder: Path,
    name: str,
    model: Any,
    tokenizer: Any,
    table: pa.Table,
    progress: Callable[[int], object] | None = None,
    **changes: Any,
) -> Files:
    files, experiment = places(folder), EXPERIMENTS[name]
    experiment = replace(experiment, run=replace(experiment.run, **changes))
    rule = TopK(2) if name == "topk" else BenjaminiHochberg(0.5, 4, null=NULLS)
    head = experiment.head(rule, describe(model.config)) | {"provenance": {"code": "abc"}}
    write_experiment(model, tokenizer, experiment, rule, table, files, head=head, progress=progress)
    return files


def left_behind(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def written(
    model: Any, tokenizer: Any, tables: dict[str, pa.Table], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Files]:
    """The files of both rules on every kind."""
    torch.set_num_threads(1)
    return {
        (rule, kind): run(tmp_path_factory.mktemp(f"{rule}-{kind}"), rule, model, tokenizer, table)
        for rule in EXPERIMENTS
        for kind, table in tables.items()
    }


def test_an_experiment_is_five_files_and_nothing_else(written: dict) -> None:
    for files in written.values():
        folder = files.trace.parents[3]
        assert left_behind(folder) == sorted(str(path.relative_to(folder)) for path in files)


def test_every_file_says_what_it_is(written: dict) -> None:
    for (rule, _), files in written.items():
        for path in files[:4]:
            stamp = read_stamp(path)
            assert stamp["config"] == EXPERIMENTS[rule].config and stamp["provenance"] == {"code": "abc"}
        log = json.loads(files.log.read_bytes())
        assert log["config"] == EXPERIMENTS[rule].config and log["trained_top_k"] == 2


def test_the_trace_has_every_token_of_every_layer_once(written: dict) -> None:
    for files in written.values():
        trace, scores = pq.read_table(files.trace), pq.read_table(files.scores)
        assert len(trace) == 2 * sum(scores["tokens"].to_pylist())
        keys = list(
            zip(*(trace[name].to_pylist() for name in ("sample_id", "sequence", "layer", "position")))
        )
        assert len(set(keys)) == len(keys)
        assert set(trace["sample_id"].to_pylist()) == set(scores["sample_id"].to_pylist())


def test_counts_stay_between_the_limits_of_the_rule(written: dict) -> None:
    for (rule, _), files in written.items():
        counts = set(pq.read_table(files.trace)["count"].to_pylist())
        assert counts == {2} if rule == "topk" else counts <= {1, 2, 3, 4}


def test_the_repeat_is_the_same_samples_with_the_same_answers(written: dict) -> None:
    for files in written.values():
        once, again = pq.read_table(files.scores).to_pylist(), pq.read_table(files.scores_repeat).to_pylist()
        ordered = sorted(again, key=lambda row: row["sample_id"])
        assert [row["sample_id"] for row in ordered] == [row["sample_id"] for row in once]
        for own, other in zip(once, ordered):
            np.testing.assert_allclose(own["log_likelihood"], other["log_likelihood"], atol=1e-3)
            assert own["tokens"] == other["tokens"]


def test_a_second_run_writes_the_same_bytes(
    written: dict, model: Any, tokenizer: Any, tables: dict[str, pa.Table], tmp_path: Path
) -> None:
    again = run(tmp_path, "bh", model, tokenizer, tables["choice"])
    for own, other in zip(written["bh", "choice"], again):
        assert own.read_bytes() == other.read_bytes()


def test_fewer_samples_may_be_spelled_out_than_traced(
    model: Any, tokenizer: Any, tables: dict[str, pa.Table], tmp_path: Path
) -> None:
    files = run(tmp_path, "bh", model, tokenizer, tables["cloze"], spelled_out_samples=2, keep_logits=False)
    assert len(json.loads(files.log.read_bytes())["samples"]) == 2
    trace = pq.read_table(files.trace)
    assert len(set(trace["sample_id"].to_pylist())) == 5 and "router_logits" not in trace.column_names


@pytest.mark.parametrize("rule", EXPERIMENTS)
def test_nan_weights_stop_at_the_first_batch_and_leave_nothing(
    rule: str, tokenizer: Any, tables: dict[str, pa.Table], tmp_path: Path
) -> None:
    broken = tiny_model(vocabulary=len(tokenizer))
    with torch.no_grad():
        broken.model.layers[1].mlp.gate.weight[3, 5] = torch.nan
    done: list[int] = []
    with pytest.raises(InputError, match="router logits of layer 1 are NaN"):
        run(tmp_path, rule, broken, tokenizer, tables["perplexity"], progress=done.append)
    assert done == [] and left_behind(tmp_path) == []


def test_progress_counts_every_sequence_of_run_and_repeat(
    model: Any, tokenizer: Any, tables: dict[str, pa.Table], tmp_path: Path
) -> None:
    done: list[int] = []
    run(tmp_path, "topk", model, tokenizer, tables["choice"], progress=done.append)
    assert sum(done) == 2 * 5 * 3
