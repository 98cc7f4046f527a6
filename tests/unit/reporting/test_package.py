"""The archive of a study: what is in it, and that its checksums are those of its files."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from switchyard.errors import InputError
from switchyard.reporting.package import package

RESULTS = {
    "report.html": "<p>found</p>",
    "evaluate/one/logs/a_text.json": "{}",
    "evaluate/one/scores/a_text.parquet": "scores",
    "evaluate/one/traces/a_text.parquet": "large",
    "prepare/models/one/model.safetensors": "large",
    "calibrate/one/nulls.parquet": "nulls",
    "calibrate/one/calibration_logits.parquet": "large",
    "study.duckdb": "large",
    "publish/figures/one/frontier.svg": "<svg/>",
    "job-logs/prepare_dataset/text.log": "done",
    ".part": "half",
}
"""Every file of a study; `large` ones are left out."""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    for name, content in RESULTS.items():
        path = tmp_path / "results/tiny" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/lock.txt").write_text("torch==1\n")
    (tmp_path / "config.yaml").write_text("study: tiny\n")
    return tmp_path


def test_an_archive_holds_what_is_needed_to_check_and_to_repeat(study: Path) -> None:
    names = package(study / "results/tiny", study, study / "tiny.zip")
    kept = {f"results/tiny/{name}" for name, content in RESULTS.items() if content not in ("large", "half")}
    assert set(names) == kept | {"envs/lock.txt", "config.yaml"}
    with zipfile.ZipFile(study / "tiny.zip") as archive:
        sums = dict(reversed(line.split("  ")) for line in archive.read("SHA256SUMS").decode().splitlines())
        assert sums == {name: hashlib.sha256(archive.read(name)).hexdigest() for name in names}
        graph = json.loads(archive.read("ro-crate-metadata.json"))["@graph"]
    described = {one["@id"]: one.get("sha256") for one in graph if one["@type"] == "File"}
    assert {name: described[name] for name in names} == sums
    assert not [path for path in study.iterdir() if path.name.startswith(".")]


def test_a_study_without_a_report_is_refused(study: Path) -> None:
    (study / "results/tiny/report.html").unlink()
    with pytest.raises(InputError, match="run the study first"):
        package(study / "results/tiny", study, study / "tiny.zip")
    assert not (study / "tiny.zip").exists()
