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
from switchyard.text.json_list import JsonList

_COMMIT = re.compile(r"[0-9a-f]{40}")
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
"""First bytes of a compressed file."""
_SUFFIXES = (".gz", ".zst")
_NOT_TEXT = {
    b"PAR1": "a Parquet file; rename it to .parquet",
    b"BZh": "compressed by bzip2; unpack it, or compress it by gzip or zstd",
    b"\xfd7zXZ": "compressed by xz; unpack it, or compress it by gzip or zstd",
    b"PK\x03\x04": "a ZIP archive or an Excel file; unpack it, or save it as CSV",
    b"\xff\xfe": "UTF-16 text; convert it to UTF-8",
    b"\xfe\xff": "UTF-16 text; convert it to UTF-8",
}
"""First bytes of what is taken for text by its name, with the remedy."""


class Row(NamedTuple):
    """A row of a source: its columns with their values, and where it stands, for messages."""

    values: dict[str, Any]
    source: str
    place: str
    fault: str = ""
    """Why the row could not be read; it has no values then."""

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
        InputError: missing, empty, of another kind, or truncated. A single row that cannot be read has a `fault`.
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
            if check_suffix(path) != ".parquet":
                _refuse_other_kinds(path, content.peek(6))
            yield content
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a whole {kind} file ({_first_line(error)}); fetch it again") from error


def _refuse_other_kinds(path: Path, head: bytes) -> None:
    for magic, what in _NOT_TEXT.items():
        if head.startswith(magic):
            raise InputError(f"{path}: not what its name says: {what}")


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
                yield _json_row(line, str(path), f"{path}, line {number}")


def _json_row(text: bytes | str, source: str, place: str) -> Row:
    fault = ""
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        values, fault = {}, f"not JSON ({error.msg}, column {error.colno})"
    if not isinstance(values, dict):
        values, fault = (
            {},
            f"a JSON {type(values).__name__}, not an object (a file that is one list ends in .json)",
        )
    return Row(values, source, place, fault)


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
        return
    with _opened(path) as content:
        whole = _json_row(content.read(), str(path), str(path))
    if whole.fault:
        raise InputError(f"{path}: {whole.fault}; correct the file or fetch it again")
    yield from _rows_within(path, whole.values)


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _json_list(path: Path) -> Iterator[Row]:
    with _opened(path) as content, io.TextIOWrapper(content, "utf-8", newline="") as text:
        try:
            for number, one in enumerate(JsonList(text, str(path)), 1):
                yield _json_row(one, str(path), f"{path}, row {number}")
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not UTF-8 ({_first_line(error)}); convert the file") from error


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


_FIELDS = "not as many fields as the first line names columns"


def _read_csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    with _opened(path) as content, io.TextIOWrapper(content, "utf-8", newline="") as text:
        reader = csv.DictReader(text, strict=True)
        number = 0
        try:
            for values in reader:
                number += 1
                row = Row.of(str(path), number, values)
                is_whole = None not in values and None not in values.values()
                yield row if is_whole else row._replace(values={}, fault=_FIELDS)
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
    """Raise InputError for anything but a full commit: a branch or tag may change under a study."""
    if not _COMMIT.fullmatch(str(revision or "")):
        raise InputError(f"{place}: revision {revision!r} is no commit; pin the 40 hexadecimal digits of one")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(". ")
