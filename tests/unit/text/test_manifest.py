"""The manifest of training documents: a document that was reworded since is told, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchyard.text.corpus import Document
from switchyard.text.manifest import manifest_line, moved, write_manifest

ROOT = Path(__file__).parents[3]


def document(name: str, split: str) -> Document:
    """A document of that name whose text falls into that split."""
    return next(d for n in range(10_000) if (d := Document(name, f"wording {n} of {name}")).split == split)


def test_an_unchanged_corpus_has_moved_nothing(tmp_path: Path) -> None:
    documents = [document(f"a.py:{split}", split) for split in ("train", "test", "validation", "calibration")]
    write_manifest(tmp_path / "manifest.tsv", documents)
    assert moved(documents, tmp_path / "manifest.tsv") == []


@pytest.mark.parametrize("split", ["test", "validation", "calibration"])
def test_a_training_document_reworded_into_another_split_is_told(tmp_path: Path, split: str) -> None:
    write_manifest(tmp_path / "manifest.tsv", [document("a.py:f", "train"), document("a.py:g", "train")])
    reworded = document("a.py:f", split)
    assert moved([reworded, document("a.py:g", "train")], tmp_path / "manifest.tsv") == [reworded]


def test_a_document_reworded_within_the_training_split_is_no_harm(tmp_path: Path) -> None:
    old = document("a.py:f", "train")
    new = next(d for n in range(99) if (d := Document("a.py:f", f"other {n}")).split == "train" and d != old)
    write_manifest(tmp_path / "manifest.tsv", [old])
    assert moved([new], tmp_path / "manifest.tsv") == []


def test_a_new_test_document_is_no_harm(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.tsv", [document("a.py:f", "train")])
    assert moved([document("a.py:new", "test")], tmp_path / "manifest.tsv") == []


def test_only_training_documents_are_written_sorted_and_without_their_text(tmp_path: Path) -> None:
    documents = [
        document(f"a.py:{i}", split) for i, split in enumerate(("train", "test", "train", "validation"))
    ]
    write_manifest(tmp_path / "manifest.tsv", documents)
    lines = (tmp_path / "manifest.tsv").read_text().splitlines()
    assert lines == sorted(manifest_line(documents[i]) for i in (0, 2))
    assert all(len(line) == 25 and "wording" not in line for line in lines)


def test_the_shipped_manifest_can_be_read() -> None:
    path = ROOT / "resources" / "pocket-corpus.tsv"
    lines = path.read_text(encoding="ascii").splitlines()
    assert len(lines) > 1000 and lines == sorted(lines)
    assert moved([document("not/in/it.py:f", "test")], path) == []
