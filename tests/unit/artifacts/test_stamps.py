"""Stamps of equal runs are equal."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from switchyard.artifacts import stamps


def test_stamp_names_everything_and_nothing_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(b"words")
    digest = hashlib.sha256(b"words").hexdigest()
    stamp = stamps.stamp(
        code="c0de",
        config={"alpha": 0.3, "max_k": [8, 16]},
        inputs={"text": tmp_path / "text.txt", "digest": digest},
        model={"name": "pocket-olmoe"},
    )
    assert stamp["inputs"] == {"digest": digest, "text": digest}
    assert stamp["config"] == stamps.sha256_json({"max_k": [8, 16], "alpha": 0.3})
    assert stamp["libraries"]["snakemake"] and stamp["libraries"]["torch"]
    assert stamp["commit"] == "unknown" or re.fullmatch("[0-9a-f]{40}", stamp["commit"])
    text = json.dumps(stamp)
    assert str(tmp_path) not in text
    assert text == json.dumps(
        stamps.stamp(
            code="c0de",
            config={"max_k": [8, 16], "alpha": 0.3},
            inputs={"digest": digest, "text": str(tmp_path / "text.txt")},
            model={"name": "pocket-olmoe"},
        )
    )


@pytest.mark.parametrize("name", ["results.csv", "report.md"])
def test_stamp_is_attached_and_read_back(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("# Report\n")
    stamp = {"code": "a --> b", "inputs": {}}
    assert stamps.attached(path) == {}
    first = stamps.attach_to(path, {"code": "older"})
    content = stamps.attach_to(path, stamp).read_bytes()
    assert stamps.attached(path) == stamp
    assert path.read_text().startswith("# Report\n")
    assert stamps.attach_to(path, stamp).read_bytes() == content
    assert first == (path if name.endswith(".md") else stamps.sidecar(path))
