"""From a model folder and problems to programs, scores and their comparison, as the rules do it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest

from reference.tiny import tiny_model, tiny_tokenizer
from switchyard.artifacts.digests import write_digests
from switchyard.artifacts.files import read_stamp, write_json, write_table
from switchyard.artifacts.stamps import attached
from switchyard.evaluation.code_job import write_programs
from switchyard.evaluation.sandbox.limits import Limits
from switchyard.models.blocks import describe
from switchyard.models.kept import KEPT
from switchyard.study.experiment import Experiment, Run
from switchyard.text.sources import read_file
from switchyard.text.tasks import prepare

ROOT = Path(__file__).parents[3]
PROBLEMS = 2
DATASET = {
    "kind": "code",
    "max_length": 120,
    "samples": PROBLEMS,
    "samples_per_problem": 2,
    "temperature": 0.8,
    "top_p": 0.9,
    "max_new_tokens": 4,
    "stop": ["\nclass"],
    "seed": 0,
}


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "workflow_scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def study(tmp_path: Path) -> Path:
    KEPT.clear()
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    write_json(tmp_path / "model" / "structure.json", describe(tiny_model().config))
    write_digests(tmp_path / "model")
    rows = read_file(ROOT / "tests" / "reference" / "programs.jsonl")
    table = prepare(rows, kind="code", layout="humaneval", samples=PROBLEMS)
    write_table(tmp_path / "problems.parquet", table)
    return tmp_path


def written(study: Path, k: int, batch_tokens: int = 1000) -> Path:
    """The programs of static top-k."""
    described = Experiment(
        study="tiny",
        model="own",
        config=f"{k}experts_topk_baseline",
        dataset="programs",
        rule="topk",
        home="switchyard.routing.topk:TopK",
        settings={"weighting": "model", "k": k},
        model_entry={"source": "folder", "path": "model", "dtype": "float32"},
        dataset_entry=DATASET,
        run=Run(batch_tokens=64, threads=1, keep_logits=False, spelled_out_samples=None),
    )
    samples = study / f"{k}_samples.jsonl"
    write_programs(
        experiment=described.as_json(),
        model=str(study / "model"),
        dataset=str(study / "problems.parquet"),
        reads={},
        samples=str(samples),
        trace=str(study / f"{k}.parquet"),
        batch_tokens=batch_tokens,
        gpu_mem_gb=0,
        code="0" * 64,
    )
    return samples


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_programs_and_their_trace(study: Path) -> None:
    samples = written(study, 2)
    rows = lines(samples)
    assert [(row["task_id"], row["sample"]) for row in rows] == [
        (f"Own/{p}", n) for p in range(2) for n in range(3)
    ]
    assert {row["temperature"] for row in rows if row["sample"]} == {0.8}
    trace = pq.read_table(study / "2.parquet").to_pylist()
    fed = sum(row["tokens"] - 1 for row in rows)
    prompts = [one["prompt"] for one in pq.read_table(study / "problems.parquet").to_pylist()]
    fed += 3 * sum(len(tiny_tokenizer().encode(prompt)) for prompt in prompts)
    assert len(trace) == 2 * fed and read_stamp(study / "2.parquet") | {"num_layers": 2} == read_stamp(
        study / "2.parquet"
    )
    assert attached(samples)["provenance"]["experiment"]["dataset_entry"] == DATASET
    before = samples.read_bytes(), (study / "2.parquet").read_bytes()
    assert (written(study, 2).read_bytes(), (study / "2.parquet").read_bytes()) == before


def test_scores_and_their_comparison(study: Path) -> None:
    samples = written(study, 2)
    rows = lines(samples)
    solutions = {
        one["task_id"]: one["solution"] for one in pq.read_table(study / "problems.parquet").to_pylist()
    }
    rows[0]["completion"] = solutions["Own/0"]  # the greedy one of the first problem
    rows[4]["completion"] = solutions["Own/1"]  # a drawn one of the second
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {
        "problems": study / "problems.parquet",
        "ks": [1, 2, 9],
        "limits": Limits(),
        "workers": 2,
        "code": "0" * 64,
    }
    for k in (1, 2):
        own = samples if k == 2 else written(study, k)
        script("score_code").main(
            samples=own, output=study / f"{k}.json", kept=study / "kept" / f"{k}", **given
        )
    found = json.loads((study / "2.json").read_text())
    assert found["pass@1"] == 0.5 and found["pass@2"] == 0.5 and found["pass@9"] is None
    assert found["sampled"]["pass@1"] == 0.25 and found["config"] == "2experts_topk_baseline"
    assert found["greedy"]["per_problem"][0]["outcomes"] == [{"reason": "passed", "message": ""}]
    assert set(found["provenance"]["sandbox"]["walls"].values()) == {"held"}
    assert found["provenance"]["inputs"].keys() >= {"model", "dataset", "samples", "upstream"}
    assert not any((study / "kept").iterdir())
    files = [study / "1.json", study / "2.json"]
    output = study / "comparison.json"
    script("compare_code").main(model="own", task="programs", scores=files, output=output, code="0" * 64)
    compared = json.loads(output.read_text())
    assert compared["reference"] == "2experts_topk_baseline"
    (one,) = compared["comparisons"]
    assert (one["config"], one["only_first"], one["only_second"], one["neither"]) == (
        "1experts_topk_baseline",
        1,
        0,
        1,
    )
    assert one["p"] == 1 and one["verdict"] == "not distinguishable"
