"""Where the rows of a dataset come from: local Parquet or JSONL files, or the Hugging Face hub."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from switchyard.errors import InputError

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Rows:
    """Rows of one or several files, each a mapping from column to value, and where they came from."""

    records: list[dict[str, Any]]
    columns: tuple[str, ...]
    names: tuple[str, ...]
    starts: tuple[int, ...] = (0,)  # number of the first record of each name

    def __len__(self) -> int:
        return len(self.records)

    @property
    def name(self) -> str:
        """All names, for messages."""
        return ", ".join(self.names)

    def place(self, index: int) -> str:
        """`name, row n`, counted from 1 within its file."""
        part = bisect_right(self.starts, index) - 1
        return f"{self.names[part]}, row {index - self.starts[part] + 1}"


def load_rows(dataset: Mapping[str, Any], *, folder: str | Path = ".") -> Rows:
    """Rows of a dataset entry of the config.

    Args:
        dataset: `source: file` with `path` or `paths` (Parquet or JSONL; relative ones lie in `folder`), or
            `source: hub` with `repository`, `split`, `revision` (a full commit) and, where it has several, `subset`.
        folder: where relative paths start.

    Raises:
        InputError: what cannot be read, where, and what to do about it.
    """
    source = dataset.get("source")
    if source == "file":
        return read_files(_paths(dataset), folder=folder)
    if source == "hub":
        return read_hub(**{key: dataset.get(key) for key in ("repository", "subset", "split", "revision")})
    raise InputError(f"dataset source {source!r} has no rows to load; use `file` or `hub`")


def _paths(dataset: Mapping[str, Any]) -> list[str]:
    given = dataset.get("paths") or dataset.get("path")
    if not given:
        raise InputError("dataset with `source: file` names no file; give `path` or `paths`")
    return [given] if isinstance(given, str | Path) else list(given)


def read_files(paths: Iterable[str | Path], *, folder: str | Path = ".") -> Rows:
    """Rows of Parquet (`.parquet`) and JSONL (`.jsonl`, `.ndjson`) files, one after another."""
    parts = [read_file(Path(folder, path)) for path in paths]
    starts, total = [], 0
    for part in parts:
        starts.append(total)
        total += len(part)
    return Rows(
        records=[record for part in parts for record in part.records],
        columns=tuple(dict.fromkeys(column for part in parts for column in part.columns)),
        names=tuple(part.name for part in parts),
        starts=tuple(starts),
    )


def read_file(path: Path) -> Rows:
    """Rows of one file.

    Raises:
        InputError: missing, empty, of another kind, truncated, or with a line that is no JSON object.
    """
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise InputError(
            f"{path}: unknown extension {path.suffix!r}; give a file ending in {', '.join(_READERS)}"
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file; correct the dataset's path or fetch the file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; fetch it again")
    columns, records = reader(path)
    if not records:
        raise InputError(f"{path}: the file has no rows; fetch it again or drop the dataset")
    return Rows(records=records, columns=tuple(columns), names=(str(path),))


def _read_parquet(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: not a whole Parquet file ({_first_line(error)}); fetch it again"
        ) from error
    return table.column_names, table.to_pylist()


def _read_jsonl(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    records = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                records.append(_json_object(line, place=f"{path}, line {number}"))
    return list(dict.fromkeys(column for record in records for column in record)), records


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


_READERS = {".parquet": _read_parquet, ".jsonl": _read_jsonl, ".ndjson": _read_jsonl}


def read_hub(
    *, repository: str | None, split: str | None, revision: str | None, subset: str | None = None
) -> Rows:
    """Rows of a split of a hub dataset at a pinned commit.

    Raises:
        InputError: no repository, split or full commit given, or the hub does not answer with such a split.
    """
    place = f"hub dataset {repository!r}"
    if not repository or not split:
        raise InputError(f"{place}, split {split!r}: incomplete; give `repository` and `split`")
    check_revision(revision, place=place)
    import datasets  # 1.2 s, and the only import here that may reach for the network

    try:
        loaded = datasets.load_dataset(repository, subset, split=split, revision=revision)
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        raise InputError(
            f"{place}, split {split!r}, revision {revision}: cannot be loaded ({_first_line(error)}); "
            "check the names, or download the file and use `source: file`"
        ) from error
    if not len(loaded):
        raise InputError(f"{place}, split {split!r}: no rows; name another split")
    columns, name = tuple(loaded.column_names), f"{repository} ({split})"
    return Rows(records=loaded.to_list(), columns=columns, names=(name,))


def check_revision(revision: str | None, *, place: str) -> None:
    """Refuse anything but a full commit: a branch or tag may change under a study."""
    if not _COMMIT.fullmatch(str(revision or "")):
        raise InputError(f"{place}: revision {revision!r} is no commit; pin the 40 hexadecimal digits of one")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(". ")
