"""Files that are whole or absent: everything is written beside its final name and then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from switchyard.artifacts import shortages
from switchyard.artifacts.seals import check, seal
from switchyard.errors import InputError

STAMP_KEY = b"switchyard"
"""Key of the run stamp in a Parquet file's schema metadata."""


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path (file or folder) that takes the name `path` on success and vanishes on failure.

    What is written is sealed (`switchyard.artifacts.seals`).

    Raises:
        InputError: the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        seal(partial)
        if partial.is_dir() and path.is_dir():
            shutil.rmtree(path)
        os.replace(partial, path)
    except Exception as error:
        if not isinstance(error, InputError) and (line := shortages.told(error, path)):
            raise InputError(line) from error
        raise
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON, indented, keys in the order given; NumPy scalars and arrays are allowed."""
    with atomic(path) as partial:
        partial.write_bytes(
            orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n"
        )


def read_json(path: str | Path) -> Any:
    """Read a JSON file; raises `InputError` for a damaged one."""
    check(path)
    return orjson.loads(Path(path).read_bytes())


def write_table(path: str | Path, table: pa.Table, stamp: dict | None = None, **options: Any) -> None:
    """Write a Parquet table (zstd) with the run stamp in its schema metadata."""
    with atomic(path) as partial:
        pq.write_table(stamped(table, stamp), partial, compression="zstd", **options)


def stamped(table: pa.Table, stamp: dict | None) -> pa.Table:
    """The same table with `stamp` in its schema metadata."""
    if stamp is None:
        return table
    return table.replace_schema_metadata({**(table.schema.metadata or {}), STAMP_KEY: orjson.dumps(stamp)})


def read_stamp(path: str | Path) -> dict:
    """The run stamp of a Parquet file, `{}` where it has none."""
    return orjson.loads((pq.read_schema(path).metadata or {}).get(STAMP_KEY, b"{}"))
