"""Shortages: errors of whatever library that mean a full disk or too little memory, as one line each.

Imports the standard library only.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

LESS_MEMORY = (
    "lower evaluation.batch_tokens, or run fewer jobs at once (--cores, --resources mem_mb=... or gpu_mem_gb=...), "
    "then the same command resumes"
)
"""What to do about too little memory."""

_DISK = {number: os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)}
NO_SPACE = _DISK[errno.ENOSPC].lower()

_SPILL = "failed to offload data block"
"""DuckDB, out of memory because the disk that it spills to is full."""

_MEMORY = re.compile(r"allocate memory|out of memory|bad_alloc", re.IGNORECASE)
_PARTIAL = re.compile(r"(?<=/)\.([^/]+)\.\d+\.part(?=/|$)")


def line_about(error: BaseException, path: str | Path | None = None) -> str | None:
    """One line about a shortage, None for any other error; `path` is what was being written, where that is known."""
    if fault := _of_disk(error):
        place = path or next(filter(None, map(_file_of, _chain(error))), temporary_folder())
        return disk_line(Path(place), fault.lower())
    if fault := _of_memory(error):
        return f"too little memory ({fault}); {LESS_MEMORY}"
    return None


def temporary_folder() -> Path:
    """Where temporary files go, also when no more fit; `tempfile` would then name another place."""
    return Path(os.environ.get("TMPDIR", "/tmp"))


def disk_line(path: Path, fault: str = NO_SPACE) -> str:
    """One line about a disk that takes no more."""
    path = Path(_PARTIAL.sub(r"\1", str(path.absolute())))
    return (
        f"{os.path.relpath(path)}: {fault} (disk of {mount_point(path)}); free space there, or put the folder "
        "on a larger disk, then the same command resumes"
    )


def mount_point(path: Path) -> Path:
    """The folder at which the disk of a path is mounted."""
    return next(folder for folder in (path.resolve(), *path.resolve().parents) if os.path.ismount(folder))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _file_of(error: BaseException) -> str | None:
    """The file that an error names; it may be open, and known by its number only."""
    name = getattr(error, "filename", None)
    return os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else None


def _of_disk(error: BaseException) -> str | None:
    for each in _chain(error):
        if getattr(each, "errno", None) in _DISK:
            return _DISK[each.errno]
        for fault in _DISK.values():
            if fault in str(each):
                return fault
        if _SPILL in str(each):
            return _DISK[errno.ENOSPC]
    return None


def _of_memory(error: BaseException) -> str | None:
    for each in _chain(error):
        if isinstance(each, MemoryError) or _MEMORY.search(str(each)):
            return " ".join(str(each).split())[:120] or type(each).__name__
    return None
