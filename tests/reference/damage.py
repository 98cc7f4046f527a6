"""Damage as a failing disk does it: one bit flipped or the end cut off, the time of change as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq


def flip_bit(path: Path, column: int = 0) -> None:
    """Flip a bit: of a Parquet file in the last byte of a column's pages, else in the middle."""
    content = bytearray(path.read_bytes())
    content[_end_of_column(path, column) - 1 if path.suffix == ".parquet" else len(content) // 2] ^= 1
    _overwrite(path, content)


def truncate(path: Path) -> None:
    """Cut the second half off."""
    content = path.read_bytes()
    _overwrite(path, content[: len(content) // 2])


def _end_of_column(path: Path, number: int) -> int:
    group = pq.read_metadata(path).row_group(0)
    column = group.column(range(group.num_columns)[number])
    return (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size


def _overwrite(path: Path, content: bytes) -> None:
    times = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
