"""Files that are whole or absent: everything is written beside its final name and then renamed.

Parquet pages carry checksums. A reader that finds a damaged or truncated file raises one `InputError`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from switchyard.artifacts import shortages
from switchyard.errors import InputError

STAMP_KEY = b"switchyard"
"""Key of the run stamp in a Parquet file's schema metadata."""

PARQUET: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
"""Options of every Parquet writer."""

VERIFIED: dict[str, Any] = {"page_checksum_verification": True}
"""Options of a Parquet reader that compares the checksum of every page that it reads."""

_ROWS_CHECKED = 8192
RESULTS = "results"
"""Folder of what rules make; other files are the user's own."""

_FOLDER_MARK = ".snakemake_timestamp"


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path (file or folder) that takes the name `path` on success and vanishes on failure.

    Raises:
        InputError: the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        if partial.is_dir() and path.is_dir():
            shutil.rmtree(path)
        os.replace(partial, path)
    except Exception as error:
        if not isinstance(error, InputError) and (line := shortages.line_about(error, path)):
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
    """Read a JSON file; raises `InputError` for one that is no whole JSON."""
    with readable(path):
        return orjson.loads(Path(path).read_bytes())


def write_table(path: str | Path, table: pa.Table, stamp: dict | None = None, **options: Any) -> None:
    """Write a Parquet table (zstd) with the run stamp in its schema metadata."""
    with atomic(path) as partial:
        pq.write_table(stamped(table, stamp), partial, **PARQUET, **options)


def stamped(table: pa.Table, stamp: dict | None) -> pa.Table:
    """The same table with `stamp` in its schema metadata."""
    if stamp is None:
        return table
    return table.replace_schema_metadata({**(table.schema.metadata or {}), STAMP_KEY: orjson.dumps(stamp)})


def read_stamp(path: str | Path) -> dict:
    """The run stamp of a Parquet file, `{}` where it has none."""
    with readable(path):
        return orjson.loads((pq.read_schema(path).metadata or {}).get(STAMP_KEY, b"{}"))


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file; raises `InputError` for a damaged page or a truncated file."""
    with readable(path):
        return pq.read_table(path, columns=columns, **VERIFIED)


def check_pages(path: str | Path, without: Sequence[str] = ()) -> None:
    """Read a Parquet file, some rows in memory at a time; raises `InputError` for a damaged page.

    `without` names columns that are left out, because another reader verifies them.
    """
    with readable(path), pq.ParquetFile(path, **VERIFIED) as file:
        columns = [name for name in file.schema_arrow.names if name not in without]
        for _ in file.iter_batches(_ROWS_CHECKED, columns=columns, use_threads=False):
            pass


@contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """Turn what a reader raises about the content of `path` into one `InputError`; other errors pass."""
    try:
        yield
    except (InputError, MemoryError, FileNotFoundError):
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        if getattr(error, "errno", None):
            raise
        raise damaged(path, str(error)) from error


def damaged(path: str | Path, reason: str) -> InputError:
    """The error for a damaged file: what is wrong, and what to delete so that a rule makes it again."""
    path = Path(path)
    output = next((folder for folder in path.parents if (folder / _FOLDER_MARK).is_file()), None)
    remove = [output or path, *([path.resolve()] if path.is_symlink() else [])]
    remedy = f"delete {' and '.join(map(str, remove))}; the same command makes it again"
    if output is None and not path.is_symlink() and RESULTS not in path.absolute().parts:
        remedy = "fetch or make it again"
    return InputError(f"{path}: is damaged ({reason.strip().splitlines()[0][:120]}); {remedy}")
