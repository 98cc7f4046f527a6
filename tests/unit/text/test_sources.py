"""Rows from files, and one clear line for every file that cannot be read."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from switchyard.errors import InputError
from switchyard.text.cells import read_cell
from switchyard.text.sources import load_rows

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
        for row in load_rows(dataset, folder=folder):
            read_cell(row, *row.values)
    message = str(caught.value)
    assert "\n" not in message
    return message


def values(folder: Path, name: str) -> list[dict]:
    return [row.values for row in load_rows({"source": "file", "path": name}, folder=folder)]


JSONL = b'{"text": "one two", "n": 1}\n\n{"text": "three four", "n": 2}\n'
FILES = {
    ".jsonl": JSONL,
    ".ndjson": JSONL,
    ".json": b'[{"text": "one two", "n": 1}, {"text": "three four",\n "n": 2}]\n',
    ".csv": b'text,n\none two,1\n"three four",2\n',
}
PACKED = {
    "": lambda content: content,
    ".gz": gzip.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("suffix", [*FILES, ".parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, suffix: str, packing: str) -> None:
    content = FILES.get(suffix) or parquet(tmp_path, "whole.parquet", ROWS).read_bytes()
    name = f"a{suffix}{packing}"
    write(tmp_path, name, PACKED[packing](content))
    expected = [{**row, "n": str(row["n"])} for row in ROWS] if suffix == ".csv" else ROWS
    assert values(tmp_path, name) == expected


@pytest.mark.parametrize("suffix", FILES)
def test_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path, suffix: str) -> None:
    plain = FILES[suffix]
    write(tmp_path, f"plain{suffix}", plain)
    write(tmp_path, f"other{suffix}", b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n"))
    write(tmp_path, f"packed{suffix}", gzip.compress(b"\xef\xbb\xbf" + plain))  # named without .gz
    expected = values(tmp_path, f"plain{suffix}")
    assert values(tmp_path, f"other{suffix}") == values(tmp_path, f"packed{suffix}") == expected


def test_a_list_within_an_object_is_the_rows(tmp_path: Path) -> None:
    content = b'{"version": 1, "data": [{"text": "one two", "n": 1}, {"text": "three four", "n": 2}]}'
    write(tmp_path, "a.json", content)
    write(tmp_path, "indented.json", content.replace(b"{", b"{\n"))
    write(tmp_path, "lines.json", JSONL)
    assert (
        values(tmp_path, "a.json")
        == values(tmp_path, "indented.json")
        == values(tmp_path, "lines.json")
        == ROWS
    )


def test_json_values_are_as_they_are_written(tmp_path: Path) -> None:
    """No date, number or missing value is guessed: a label may be "1", 1.0 or null."""
    rows = [{"label": "1", "when": "2024-01-01"}, {"label": 1.0}, {"label": None, "more": [{"deep": "01"}]}]
    write(tmp_path, "a.json", json.dumps(rows).encode())
    assert values(tmp_path, "a.json") == rows


def test_places_are_counted_within_each_file(tmp_path: Path) -> None:
    paths = [parquet(tmp_path, name, ROWS) for name in ("a.parquet", "b.parquet")]
    write(tmp_path, "c.jsonl", JSONL)
    rows = load_rows({"source": "file", "paths": [*paths, "c.jsonl"]}, folder=tmp_path)
    assert [row.place.removeprefix(str(tmp_path)) for row in rows] == [
        "/a.parquet, row 1",
        "/a.parquet, row 2",
        "/b.parquet, row 1",
        "/b.parquet, row 2",
        "/c.jsonl, line 1",
        "/c.jsonl, line 3",
    ]


MEMORY = """
import resource, sys
from itertools import islice
from pathlib import Path
from switchyard.text.sources import read_file
list(islice(read_file(Path(sys.argv[1])), 3))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert sum(1 for _ in read_file(Path(sys.argv[2]))) == 60_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz"])
def test_a_large_file_takes_no_more_memory_than_a_part_of_it(tmp_path: Path, suffix: str) -> None:
    rows = [{"text": f"{number} " + "word " * 300} for number in range(60_000)]  # 90 MB
    for name, some in (("small", rows[:100]), ("large", rows)):
        content = "\n".join(json.dumps(row) for row in some)
        content = f"[{content}]".replace("\n", ",\n") if suffix == ".json" else content
        content = "text\n" + "\n".join(row["text"] for row in some) if suffix == ".csv" else content
        if suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(some), tmp_path / (name + suffix), row_group_size=2000)
        else:
            raw = content.encode()
            write(tmp_path, name + suffix, gzip.compress(raw, 1) if suffix.endswith(".gz") else raw)
    command = [
        sys.executable,
        "-c",
        MEMORY,
        *(str(tmp_path / (name + suffix)) for name in ("small", "large")),
    ]
    grown_kb = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown_kb < 60_000


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.parquet", None, ["gone.parquet", "no such file"]),
        ("a.txt", b"text\nx\n", ["a.txt", "must end in .parquet, .jsonl", "rename"]),
        ("a.xlsx.gz", b"text\nx\n", ["a.xlsx.gz", "must end in .parquet, .jsonl"]),
        ("a.csv", b"text,n\nx\n", ["a.csv, row 1", "fields", "columns"]),
        ("a.csv", b"text,n\nx,1,2\n", ["a.csv, row 1", "fields", "columns"]),
        ("a.csv", b"text\n\xff\n", ["a.csv, after row 0", "UTF-8"]),
        ("a.csv", b"text\n", ["a.csv", "no rows"]),
        ("a.json", b"[]", ["a.json", "no rows"]),
        ("a.json", b'[{"text": "x"}, ["x"]]', ["a.json", "row 2", "list", "object"]),
        ("a.json", b'[{"text": "x"}, {"text": ', ["a.json", "not JSON"]),
        ("a.json", b'[{"text": "x"},', ["a.json, after row 1", "not JSON", "fetch"]),
        ("a.json", b'[{"text": "x"}] {', ["a.json, after row 1", "follows the list"]),
        ("a.json", b'[{"text": "x"} {"text": "y"}]', ["a.json, after row 1", "',' or ']'"]),
        ("a.json", b'[{"text": "\xff"}]', ["a.json", "not UTF-8"]),
        ("a.jsonl", b'[{"text": "x"}]\n', ["a.jsonl, line 1", "list", "ends in .json"]),
        ("a.jsonl", b"PAR1\x15\x04", ["a.jsonl", "a Parquet file", ".parquet"]),
        ("a.csv", "text\nx\n".encode("utf-16"), ["a.csv", "UTF-16", "convert"]),
        ("a.json", b"BZh91AY", ["a.json", "bzip2", "unpack"]),
        ("a.csv", b"PK\x03\x04", ["a.csv", "Excel", "CSV"]),
        ("a.json", b'{"text": "x"}', ["a.json", "0 lists of objects", ".jsonl"]),
        ("a.json", b'{"text": "x"}\n{"text": ', ["a.json, line 2", "not JSON"]),
        ("a.json", b'{"a": [{"b": 1}], "c": [{"d": 1}]}', ["a.json", "2 lists of objects"]),
        (
            "a.jsonl.gz",
            gzip.compress(JSONL * 100, mtime=0)[:-20],
            ["a.jsonl.gz", "not a whole gzip file", "fetch"],
        ),
        ("a.jsonl", b'{"text": "a \\ud83d b"}\n', ["a.jsonl, line 1", "not JSON"]),
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
