"""Corpora: what is read, on which side it is, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from switchyard.artifacts.files import read_stamp
from switchyard.errors import InputError
from switchyard.text.corpora import (
    FOLDS,
    MOST_DOMAINS,
    NO_DOMAIN,
    Text,
    documents_of,
    read_texts,
    side_of,
    write_corpus,
)

SIDES = ("offline", "tuning", "final")
PLAIN = {"source": "file", "layout": "plain", "text": "text", "domain": None, "num_samples": None}


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_sides_follow_from_the_text_alone(tmp_path: Path) -> None:
    texts = [f"document {number}" for number in range(2000)]
    for order in (texts, texts[::-1]):
        write_corpus(tmp_path / "corpus.parquet", map(Text, order))
        rows = pq.read_table(tmp_path / "corpus.parquet").to_pylist()
        assert [row["text"] for row in rows] == order
        for row in rows:
            assert row["digest"] == hashlib.sha256(row["text"].encode()).hexdigest()
            assert row["side"] == side_of(row["digest"])
    counts = Counter(row["side"] for row in rows)
    assert set(counts) == set(SIDES)
    assert 0.08 < counts["final"] / 2000 < 0.12
    assert 0.08 < counts["tuning"] / 2000 < 0.12


def test_the_same_text_comes_once_and_empty_ones_never(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counts = write_corpus(
        tmp_path / "corpus.parquet", [Text("a b"), Text("a b", "other"), Text("  "), Text("c")]
    )
    table = pq.read_table(tmp_path / "corpus.parquet")
    assert table["text"].to_pylist() == ["a b", "c"]
    assert counts.total() == 2
    assert "2 of 4 documents left out" in caplog.text


def test_the_stamp_is_kept(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus.parquet", [Text("a")], {"made": "here"})
    assert read_stamp(tmp_path / "corpus.parquet") == {"made": "here"}


def test_nothing_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="corpus: no document holds a word"):
        write_corpus(tmp_path / "corpus.parquet", [Text(" \n")])
    assert list(tmp_path.iterdir()) == []


def test_the_pocket_corpus_keeps_its_sides_and_leaves_out_its_calibration(tmp_path: Path) -> None:
    splits = ["train", "validation", "test", "calibration"]
    corpus = pa.table({"name": [f"numpy/{s}.py:f" for s in splits], "split": splits, "text": splits})
    pq.write_table(corpus, tmp_path / "pocket.parquet")
    found = list(read_texts({"source": "pocket", "num_samples": None}, files=[tmp_path / "pocket.parquet"]))
    assert [(one.text, one.side, one.domain) for one in found] == [
        ("train", "offline", "numpy"),
        ("validation", "tuning", "numpy"),
        ("test", "final", "numpy"),
    ]


def test_files_one_after_the_other_with_domains_in_maps(tmp_path: Path) -> None:
    first = jsonl(tmp_path / "1.jsonl", [{"text": "a", "meta": {"set": "web"}}])
    second = jsonl(tmp_path / "2.jsonl", [{"text": "b", "meta": {"set": "books"}}, {"text": "c", "meta": {}}])
    entry = PLAIN | {"domain": "meta.set"}
    assert list(read_texts(entry | {"num_samples": 2}, files=[first, second])) == [
        Text("a", "web"),
        Text("b", "books"),
    ]
    with pytest.raises(InputError, match=r"2\.jsonl, line 2, column 'meta\.set': no name of a domain"):
        list(read_texts(entry, files=[first, second]))
    assert {one.domain for one in read_texts(PLAIN, files=[first])} == {NO_DOMAIN}


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1\.jsonl, line 1: no column 'content'.*it has text"):
        list(read_texts(PLAIN | {"text": "content"}, files=[jsonl(tmp_path / "1.jsonl", [{"text": "a"}])]))


def test_wikitext_is_joined_into_pages(tmp_path: Path) -> None:
    lines = ["", " = One = \n", " Words , here . \n", " = Two = \n", " More . \n"]
    entry = PLAIN | {"layout": "wikitext"}
    found = list(read_texts(entry, files=[jsonl(tmp_path / "w.jsonl", [{"text": line} for line in lines])]))
    assert [one.text.split()[1] for one in found] == ["One", "Two"]
    assert "Words, here." in found[0].text


def test_wikitext_without_a_heading_is_refused_and_not_one_document(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "w.jsonl", [{"text": line} for line in ("a b", "c d")])
    with pytest.raises(InputError, match="no line is a heading"):
        list(read_texts(PLAIN | {"layout": "wikitext", "num_samples": 1}, files=[file]))


def test_no_remedy_is_named_that_corpora_do_not_have(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1\.jsonl, line 1.*correct or drop the row$"):
        list(read_texts(PLAIN, files=[jsonl(tmp_path / "1.jsonl", [{"text": 5}])]))


def test_the_hub_is_streamed_and_no_more_than_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    jsonl(tmp_path / "train.jsonl", [{"text": str(number)} for number in range(100)])
    asked: dict[str, Any] = {}
    load = datasets.load_dataset

    def local(repository: str, subset: str | None, **options: Any) -> Any:
        asked.update(repository=repository, subset=subset, **options)
        rows = load(str(tmp_path), split=options["split"], streaming=options["streaming"])
        return rows

    monkeypatch.setattr(datasets, "load_dataset", local)
    entry = PLAIN | {"source": "hub", "repository": "a/b", "subset": "en", "split": "train", "num_samples": 3}
    with pytest.raises(InputError, match="'a/b': revision None is no commit"):
        list(read_texts(entry | {"revision": None}))
    entry["revision"] = "ab" * 20
    assert [one.text for one in read_texts(entry)] == ["0", "1", "2"]
    assert asked["streaming"] is True
    assert (asked["repository"], asked["subset"], asked["revision"]) == ("a/b", "en", "ab" * 20)


def test_a_hub_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    entry = PLAIN | {"source": "hub", "repository": "a/b", "split": "train", "revision": "ab" * 20}
    with pytest.raises(InputError, match="cannot be read") as caught:
        list(read_texts(entry))
    assert "\n" not in str(caught.value)


def test_one_side_with_its_domains(tmp_path: Path) -> None:
    texts = [Text(str(number), f"domain {number % 2}") for number in range(400)]
    write_corpus(tmp_path / "corpus.parquet", texts)
    found = {side: list(documents_of(tmp_path / "corpus.parquet", side)) for side in SIDES}
    assert sorted(sum(found.values(), [])) == sorted((one.domain, one.text) for one in texts)
    assert all(found.values())


def test_documents_without_domains_are_dealt_out_evenly_and_always_alike(tmp_path: Path) -> None:
    texts = [Text(str(number)) for number in range(2000)]
    write_corpus(tmp_path / "corpus.parquet", texts)
    found = dict(reversed(pair) for pair in documents_of(tmp_path / "corpus.parquet", "offline"))
    counts = Counter(found.values())
    assert len(counts) == FOLDS and min(counts.values()) > 0.8 * len(found) / FOLDS
    write_corpus(tmp_path / "corpus.parquet", texts[::-1])
    assert dict(reversed(pair) for pair in documents_of(tmp_path / "corpus.parquet", "offline")) == found


def test_too_many_domains_are_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus.parquet", [Text(str(n), str(n)) for n in range(MOST_DOMAINS + 1)])
    with pytest.raises(InputError, match="33 domains, 32 at most"):
        list(documents_of(tmp_path / "corpus.parquet", "offline"))


def test_compressed_files_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SlimPajama's files end in .jsonl.zst, which `datasets` reads with a package that it does not ask for."""
    import datasets
    import zstandard

    rows = b"".join(json.dumps({"text": str(n), "meta": {"set": "web"}}).encode() + b"\n" for n in range(3))
    (tmp_path / "train.jsonl.zst").write_bytes(zstandard.compress(rows))
    load = datasets.load_dataset
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *_, **options: load(str(tmp_path), split="train", streaming=True)
    )
    entry = PLAIN | {"source": "hub", "repository": "a/b", "split": "train", "revision": "ab" * 20}
    found = list(read_texts(entry | {"domain": "meta.set", "num_samples": 2}))
    assert found == [Text("0", "web"), Text("1", "web")]
