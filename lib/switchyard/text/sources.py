"""Where the rows of a dataset or corpus come from: local files, or the Hugging Face hub. Rows are read as a stream.

| file | rows |
|---|---|
| `.jsonl`, `.ndjson` | a JSON object per line; blank lines are left out |
| `.json` | a list of objects, an object with one such list in it, or as `.jsonl` |
| `.csv` | a line of column names, then a row per record; every value is text |
| `.parquet` | its rows |

Each may be compressed by gzip (`.gz`) or zstd (`.zst`); the first bytes of a file say whether it is. Text is UTF-8,
with or without a byte-order mark, with either kind of line end.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from switchyard.errors import InputError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
"""First bytes of a compressed file."""
_SUFFIXES = (".gz", ".zst")
_OBJECT_BYTES = 16 * 2**20
"""Largest object in a JSON list."""


class Row(NamedTuple):
    """A row of a source: its columns with their values, and where it stands, for messages."""

    values: dict[str, Any]
    source: str
    place: str

    @classmethod
    def of(cls, source: str, number: int, values: dict[str, Any]) -> Row:
        """Row `number` of a source, counted from 1."""
        return cls(values, source, f"{source}, row {number}")


def load_rows(dataset: Mapping[str, Any], *, folder: str | Path = ".") -> Iterator[Row]:
    """Rows of a dataset entry of the config, as they are read.

    Args:
        dataset: `source: file` with `path` or `paths` (relative ones lie in `folder`), or `source: hub` with
            `repository`, `split`, `revision` (a full commit) and, where it has several, `subset`.
        folder: where relative paths start.

    Raises:
        InputError: what cannot be read, where, and what to do about it.
    """
    source = dataset.get("source")
    if source == "file":
        return (row for path in _paths(dataset) for row in read_file(Path(folder, path)))
    if source == "hub":
        return read_hub(**{key: dataset.get(key) for key in ("repository", "subset", "split", "revision")})
    raise InputError(f"dataset source {source!r} has no rows to load; use `file` or `hub`")


def _paths(dataset: Mapping[str, Any]) -> list[str]:
    given = dataset.get("paths") or dataset.get("path")
    if not given:
        raise InputError("dataset with `source: file` names no file; give `path` or `paths`")
    return [given] if isinstance(given, str | Path) else list(given)


def check_suffix(path: str | Path) -> str:
    """The suffix that says what a file holds, without that of its compression; an InputError for another one."""
    path = Path(path)
    suffix = (path.with_suffix("") if path.suffix in _SUFFIXES else path).suffix
    if suffix not in _READERS:
        raise InputError(
            f"{path}: a file must end in {', '.join(_READERS)}, and in .gz or .zst after that if it is compressed; "
            "rename it, or convert it to one of these"
        )
    return suffix


def read_file(path: Path) -> Iterator[Row]:
    """Rows of one file.

    Raises:
        InputError: missing, empty, of another kind, truncated, or with a row that is no JSON object.
    """
    reader = _READERS[check_suffix(path)]
    if not path.is_file():
        raise InputError(f"{path}: no such file; correct the dataset's path or fetch the file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; fetch it again")
    row = None
    for row in reader(path):
        yield row
    if row is None:
        raise InputError(f"{path}: the file has no rows; fetch it again or drop the dataset")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file after decompression, without a byte-order mark.

    Raises:
        InputError: the compressed data are damaged or end early.
    """
    with path.open("rb") as file:
        head = file.read(4)
    kind = next((name for magic, name in _COMPRESSIONS.items() if head.startswith(magic)), None)
    try:
        with pa.input_stream(str(path), compression=kind) as stream, io.BufferedReader(stream) as content:
            if content.peek(3)[:3] == b"\xef\xbb\xbf":
                content.read(3)
            yield content
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a whole {kind} file ({_first_line(error)}); fetch it again") from error


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        with _seekable(path) as file:
            number = 0
            for batch in pq.ParquetFile(file).iter_batches(batch_size=1024):
                for values in batch.to_pylist():
                    number += 1
                    yield Row.of(str(path), number, values)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: not a whole Parquet file ({_first_line(error)}); fetch it again"
        ) from error


@contextmanager
def _seekable(path: Path) -> Iterator[Any]:
    """A Parquet file, which is read from its end; one that is compressed as a whole is unpacked on disk."""
    if path.suffix not in _SUFFIXES:
        yield path
        return
    with _opened(path) as packed, tempfile.TemporaryFile() as whole:
        shutil.copyfileobj(packed, whole)
        yield whole


def _read_jsonl(path: Path) -> Iterator[Row]:
    with _opened(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                place = f"{path}, line {number}"
                yield Row(_json_object(line, place=place), str(path), place)


def _json_object(line: bytes, *, place: str) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InputError(
            f"{place}: not JSON ({error.msg}, column {error.colno}); correct or drop the line"
        ) from error
    if not isinstance(record, dict):
        raise InputError(f"{place}: a JSON {type(record).__name__}, not an object; write one object per line")
    return record


def _read_json(path: Path) -> Iterator[Row]:
    """A list of objects, or an object per line, is read as a stream; an object with a list in it is read whole."""
    with _opened(path) as content:
        if content.peek(64).lstrip()[:1] == b"[":
            yield from _json_list(path)
            return
        first = content.readline()
        has_more = any(line.strip() for line in content)
    if has_more and _is_json(first):
        yield from _read_jsonl(path)
    else:
        with _opened(path) as content:
            yield from _rows_within(path, _json_object(content.read(), place=str(path)))


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _json_list(path: Path) -> Iterator[Row]:
    """The objects of a JSON list, through DuckDB, which keeps a piece of the file in memory."""
    import duckdb

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "rows.json")  # without compression and byte-order mark
        with _opened(path) as content, place.open("wb") as plain:
            shutil.copyfileobj(content, plain)
        connection = duckdb.connect(config={"threads": 1})
        connection.execute("SET enable_progress_bar = false")
        query = "SELECT json::VARCHAR FROM read_json_objects(?, format='array', maximum_object_size=?)"
        try:
            found = connection.sql(query, params=[str(place), _OBJECT_BYTES]).to_arrow_reader(1024)
            texts = (text for batch in found for text in batch.column(0).to_pylist())
            for number, text in enumerate(texts, 1):
                yield Row.of(str(path), number, _json_object(text.encode(), place=f"{path}, row {number}"))
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            fault = re.sub(r' in file ".*?"', "", _first_line(error))
            raise InputError(
                f"{path}: not JSON ({fault[:160]}); correct the file or fetch it again"
            ) from error


def _rows_within(path: Path, values: dict[str, Any]) -> Iterator[Row]:
    lists = {
        name: value
        for name, value in values.items()
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value)
    }
    if len(lists) != 1:
        raise InputError(
            f"{path}: an object with {len(lists)} lists of objects; write one list of objects, or one object per line "
            "in a file ending in .jsonl"
        )
    ((name, found),) = lists.items()
    for number, one in enumerate(found, 1):
        yield Row.of(f"{path}, list {name!r}", number, one)


def _read_csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    with _opened(path) as content, io.TextIOWrapper(content, "utf-8", newline="") as text:
        reader = csv.DictReader(text, strict=True)
        number = 0
        try:
            for values in reader:
                number += 1
                if None in values or None in values.values():
                    raise InputError(
                        f"{path}, row {number}: not as many fields as the first line names columns; correct the row"
                    )
                yield Row.of(str(path), number, values)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(
                f"{path}, after row {number}: not CSV in UTF-8 ({_first_line(error)}); correct the file"
            ) from error


_READERS = {
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
}


def read_hub(
    *, repository: str | None, split: str | None, revision: str | None, subset: str | None = None
) -> Iterator[Row]:
    """Rows of a split of a hub dataset at a pinned commit.

    Raises:
        InputError: no repository, split or full commit given, or the hub does not answer with such a split.
    """
    place = f"hub dataset {repository!r}"
    if not repository or not split:
        raise InputError(f"{place}, split {split!r}: incomplete; give `repository` and `split`")
    check_revision(revision, place=place)
    return _hub_rows(repository, split, revision, subset)


def _hub_rows(repository: str, split: str, revision: str, subset: str | None) -> Iterator[Row]:
    import datasets  # 1.2 s, and the only import here that may reach for the network

    place = f"hub dataset {repository!r}"
    try:
        loaded = datasets.load_dataset(repository, subset, split=split, revision=revision)
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        raise InputError(
            f"{place}, split {split!r}, revision {revision}: cannot be loaded ({_first_line(error)}); "
            "check the names, or download the file and use `source: file`"
        ) from error
    if not len(loaded):
        raise InputError(f"{place}, split {split!r}: no rows; name another split")
    for number, values in enumerate(loaded, 1):
        yield Row.of(f"{repository} ({split})", number, values)


def check_revision(revision: str | None, *, place: str) -> None:
    """Refuse anything but a full commit: a branch or tag may change under a study."""
    if not _COMMIT.fullmatch(str(revision or "")):
        raise InputError(f"{place}: revision {revision!r} is no commit; pin the 40 hexadecimal digits of one")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(". ")
