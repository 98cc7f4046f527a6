"""Rows from files, and one clear line for every file that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from switchyard.errors import InputError
from switchyard.text.sources import load_rows, read_files

ROWS = [{"text": "one two", "n": 1}, {"text": "three four", "n": 2}]


def write(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def parquet(folder: Path, name: str, rows: list[dict]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), folder / name)
    return folder / name


def refused(dataset: dict, folder: Path) -> str:
    """The single line that `load_rows` refuses a dataset with."""
    with pytest.raises(InputError) as caught:
        load_rows(dataset, folder=folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_parquet_and_jsonl_give_the_same_rows(tmp_path: Path) -> None:
    parquet(tmp_path, "a.parquet", ROWS)
    write(tmp_path, "a.jsonl", b'{"text": "one two", "n": 1}\n\n{"text": "three four", "n": 2}\n')
    first = load_rows({"source": "file", "path": "a.parquet"}, folder=tmp_path)
    second = load_rows({"source": "file", "path": "a.jsonl"}, folder=tmp_path)
    assert first.records == second.records == ROWS
    assert first.columns == second.columns == ("text", "n")


def test_places_are_counted_within_each_file(tmp_path: Path) -> None:
    paths = [parquet(tmp_path, name, ROWS) for name in ("a.parquet", "b.parquet")]
    rows = read_files(paths)
    assert len(rows) == 4
    assert [rows.place(i).removeprefix(str(tmp_path)) for i in (0, 1, 2, 3)] == [
        "/a.parquet, row 1",
        "/a.parquet, row 2",
        "/b.parquet, row 1",
        "/b.parquet, row 2",
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.parquet", None, ["gone.parquet", "no such file"]),
        ("a.csv", b"text\nx\n", ["a.csv", "'.csv'", ".parquet, .jsonl"]),
        ("a.jsonl", b"", ["a.jsonl", "empty"]),
        ("a.jsonl", b"\n\n", ["a.jsonl", "no rows"]),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', ["a.jsonl, line 2", "not JSON"]),
        ("a.jsonl", b'{"text": "x"}\n["x"]\n', ["a.jsonl, line 2", "list", "object"]),
        ("a.jsonl", b'{"text": "\xff"}\n', ["a.jsonl, line 1", "not JSON"]),
        ("a.parquet", b"PAR1 and then nothing", ["a.parquet", "Parquet", "fetch"]),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes | None, words: list[str]
) -> None:
    if content is not None:
        write(tmp_path, name, content)
    message = refused({"source": "file", "path": name}, tmp_path)
    assert all(word in message for word in words), message


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_parquet_file_is_named(tmp_path: Path, share: float) -> None:
    whole = parquet(tmp_path, "a.parquet", ROWS * 100)
    write(tmp_path, "cut.parquet", whole.read_bytes()[: int(share * whole.stat().st_size)])
    assert "cut.parquet: not a whole Parquet file" in refused(
        {"source": "file", "path": "cut.parquet"}, tmp_path
    )


def test_parquet_without_rows_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert "a.parquet: the file has no rows" in refused({"source": "file", "path": "a.parquet"}, tmp_path)


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        ({"source": "file"}, ["`path`"]),
        ({"source": "web"}, ["'web'", "`file`"]),
        ({"source": "hub", "repository": "a/b", "split": "test"}, ["'a/b'", "None", "40"]),
        ({"source": "hub", "repository": "a/b", "split": "test", "revision": "main"}, ["'main'", "40"]),
        ({"source": "hub", "repository": "a/b", "split": "test", "revision": "ab" * 19}, ["40"]),
        ({"source": "hub", "repository": "a/b", "revision": "ab" * 20}, ["'a/b'", "`split`"]),
    ],
)
def test_an_incomplete_source_is_refused_without_asking_the_network(
    tmp_path: Path, dataset: dict, words: list[str]
) -> None:
    message = refused(dataset, tmp_path)
    assert all(word in message for word in words), message
