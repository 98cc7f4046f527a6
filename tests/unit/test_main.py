"""The command line beside the pipeline."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from transformers import LlamaConfig, OlmoeConfig

from reference.damage import truncate
from reference.model_files import CORPUS, STRUCTURE, TRAINING
from switchyard import __main__ as command
from switchyard.artifacts.files import write_json, write_table


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["switchyard", *map(str, arguments)])
    return command.main()


def test_every_verb_is_told_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, "--help")
    text = capsys.readouterr().out
    assert caught.value.code == 0
    for verb in ("describe", "ship-models", "table-ceiling", "validate-hypothesis", "verify"):
        assert verb in text
        with pytest.raises(SystemExit):
            run(monkeypatch, verb, "--help")
        assert "." in capsys.readouterr().out


def test_verify_names_damaged_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("whole", "torn"):
        write_json(tmp_path / f"{name}.json", {"a": 1})
        write_table(tmp_path / f"{name}.parquet", pa.table({"x": range(1000)}))
    assert run(monkeypatch, "verify", tmp_path) == 0
    assert capsys.readouterr().out == "4 files checked, 0 damaged\n"
    for name in ("torn.json", "torn.parquet"):
        truncate(tmp_path / name)
    assert run(monkeypatch, "verify", tmp_path) == 1
    *lines, count = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{tmp_path}/torn.json", f"{tmp_path}/torn.parquet"]
    assert count == "4 files checked, 2 damaged"
    assert run(monkeypatch, "verify", tmp_path / "nothing") == 2


def test_a_verb_is_needed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch)
    assert caught.value.code == 2 and "verb" in capsys.readouterr().err


def test_describe_prints_the_structure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    OlmoeConfig(num_experts=16, num_experts_per_tok=3, num_hidden_layers=5).save_pretrained(tmp_path)
    assert run(monkeypatch, "describe", tmp_path) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["num_experts"], found["top_k"], found["num_layers"]) == (16, 3, 5)


@pytest.mark.parametrize("broken", ["no folder", "no experts"])
def test_bad_input_is_one_line(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if broken == "no experts":
        LlamaConfig().save_pretrained(tmp_path / "model")
    assert run(monkeypatch, "describe", tmp_path / "model") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("switchyard: error: ")
    assert ("no config.json" if broken == "no folder" else "has no experts") in lines[0]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The results folder of a study that trained one model."""
    folder = tmp_path / "results" / "retrain"
    model = folder / "prepare" / "models" / "pocket"
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"weights")
    write_json(model / "training.json", TRAINING)
    write_json(model / "structure.json", STRUCTURE)
    write_json(folder / "prepare" / "corpus.json", CORPUS)
    documents = {"name": ["module.py:f"], "text": ["a text"]}
    write_table(folder / "prepare" / "corpus.parquet", pa.table(documents))
    datasets = {"heldout": {"kind": "perplexity", "samples": 9, "perplexity": 17.0}}
    layers = [{"layer": 0, "experts_used": 64, "busiest_over_even": 2.0}]
    write_json(folder / "evaluate" / "pocket" / "assessment.json", {"datasets": datasets, "layers": layers})
    return folder


def test_ship_models_copies_a_model_with_its_card(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, "ship-models", "--from", study, "--to", tmp_path / "resources") == 0
    shipped = tmp_path / "resources" / "pocket"
    assert sorted(path.name for path in shipped.iterdir()) == [
        "README.md",
        "model.safetensors",
        "training.json",
    ]
    assert (shipped / "README.md").read_text().startswith("# pocket\n")


def test_ship_models_replaces_the_model_that_was_there(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(study / "prepare" / "models" / "pocket", tmp_path / "resources" / "pocket")
    (tmp_path / "resources" / "pocket" / "old.safetensors").touch()
    run(monkeypatch, "ship-models", "--from", study, "--to", tmp_path / "resources")
    assert not (tmp_path / "resources" / "pocket" / "old.safetensors").exists()
    assert sorted(path.name for path in (tmp_path / "resources").iterdir()) == ["pocket", "pocket-corpus.tsv"]


COUNTS = {"layer": [0, 0], "domain": ["a", "b"], "token_id": [1, 1], "expert": [0, 1], "count": [3, 1]}


def test_table_ceiling_writes_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(tmp_path / "counts.parquet", pa.table(COUNTS))
    wanted = (
        "--counts",
        tmp_path / "counts.parquet",
        "--top-k",
        "1",
        "--output",
        tmp_path / "out" / "ceiling.json",
    )
    assert run(monkeypatch, "table-ceiling", *wanted) == 0
    layer = json.loads((tmp_path / "out" / "ceiling.json").read_text())["layers"][0]
    assert layer["token"] == {"in_sample": 1.0, "leave_one_domain_out": 0.0, "unseen_share": 0.0}
    assert "in-sample 1.000, leave-one-domain-out 0.000" in capsys.readouterr().out


def test_validate_hypothesis_takes_statistics_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    statistics = {
        "token_id": [0, 1, 2, 3, 4],
        "token_str": ["</s>", "a", "b", "c", "d"],
        "frequency": [900, 100, 80, 60, 2],
        "mean_entropy": [0.1, 0.2, 0.3, 0.4, float("nan")],
        "routing_consistency": [1.0, 0.9, 0.8, 0.7, 0.6],
    }
    write_table(tmp_path / "stats.parquet", pa.table(statistics))
    wanted = ("--input", tmp_path / "stats.parquet", "--output", tmp_path / "out")
    assert run(monkeypatch, "validate-hypothesis", *wanted, "--frequency-threshold", "70") == 0
    verdict = json.loads((tmp_path / "out" / "verdict.json").read_text())
    (layer,) = verdict["layers"]
    assert (layer["layer"], layer["unusable_rows"]) == (None, 2)
    assert (layer["eligible_tokens"], layer["fast_path_coverage"]) == (2, 180 / 240)
    assert capsys.readouterr().out == (tmp_path / "out" / "validation_report.txt").read_text()


def test_statistics_without_a_column_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(tmp_path / "stats.parquet", pa.table({"token_id": [1]}))
    wanted = ("--input", tmp_path / "stats.parquet", "--output", tmp_path / "out")
    assert run(monkeypatch, "validate-hypothesis", *wanted) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "frequency" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["", "counts.parquet/ceiling.json"], ids=["a folder", "below a file"])
def test_a_place_that_cannot_be_written_is_one_line(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(tmp_path / "counts.parquet", pa.table(COUNTS))
    wanted = ("--counts", tmp_path / "counts.parquet", "--top-k", "1", "--output", tmp_path / place)
    assert run(monkeypatch, "table-ceiling", *wanted) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("; give another place")


def test_no_experts_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ("--counts", tmp_path / "counts.parquet", "--top-k", "1", "--output", tmp_path / "out.json")
    with pytest.raises(SystemExit):
        run(monkeypatch, "table-ceiling", *wanted, "--num-experts", "0")
    assert "give 1 or more" in capsys.readouterr().err
