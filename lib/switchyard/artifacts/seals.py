"""Seals: a file keeps the SHA-256 that it had when it was written, so that a damaged one is told from a whole one.

The seal is an extended attribute of the file: it is renamed and copied with it and lost when another file takes its
name. What is written into a sealed file is not told from damage: the time of change says nothing, snakemake moves that
of every result when its job ends. A file system without such attributes keeps no seals, and there damage is found only
where a format notices it. Large files of the hub's cache need none: the digest is their name.

`python -m switchyard.artifacts.seals FOLDER` checks every sealed file below a folder.

Imports the standard library only, as `switchyard.artifacts.stamps` does.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from switchyard.errors import ERROR_LINE, InputError

ATTRIBUTE = "user.switchyard.sha256"

SETTLED_NS = 2_000_000_000
"""A file that was changed more recently may change again without another time of change; it is always read anew."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FOLDER_MARK = ".snakemake_timestamp"


def seal(path: Path) -> None:
    """Seal a file, or all files in a folder; links are left alone."""
    for file in files_in(path):
        with suppress(OSError, AttributeError):
            os.setxattr(file, ATTRIBUTE, b"")  # before it is read for nothing
            os.setxattr(file, ATTRIBUTE, _read(file).encode())


def check(path: str | Path) -> None:
    """Raise the `InputError` of `checked` for a damaged file; one that nothing is known of is not read."""
    if _sealed(Path(path)):
        checked(path)


def checked(path: str | Path) -> str:
    """SHA-256 of a file; it is read once in a process.

    Raises:
        InputError: the file is sealed and not what was sealed.
    """
    path, status = Path(path), os.stat(path)
    settled = time.time_ns() - status.st_mtime_ns > SETTLED_NS
    key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    digest = _read_once(path, *key) if settled else _read(path)
    if digest != (_sealed(path) or digest):
        raise InputError(
            f"{path}: is damaged or was changed, its content is not what its job wrote; "
            f"remove {' and '.join(map(str, _to_remove(path)))}, then the same command makes it again"
        )
    return digest


def files_in(path: Path) -> Iterator[Path]:
    """The file itself, or all files in the folder; no links."""
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file() and not file.is_symlink():
            yield file


def _sealed(path: Path) -> str | None:
    """The digest that a file should have, where that is known."""
    with suppress(OSError, AttributeError):
        return os.getxattr(path, ATTRIBUTE).decode() or None
    name = path.resolve().name
    return name if _DIGEST.fullmatch(name) else None


def _to_remove(path: Path) -> list[Path]:
    """What must go so that a file is made again: the output that it belongs to, and what it is a link to."""
    outputs = (folder for folder in path.parents if (folder / _FOLDER_MARK).is_file())
    return [next(outputs, path), *([path.resolve()] if path.is_symlink() else [])]


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _read_once(path: Path, device: int, inode: int, size_bytes: int, mtime_ns: int) -> str:
    return _read(path)


def main(folder: Path) -> int:
    """Print a line for every damaged file below a folder; the exit code."""
    damaged = sealed = 0
    for file in files_in(folder):
        sealed += _sealed(file) is not None
        try:
            check(file)
        except InputError as error:
            damaged += 1
            print(f"{ERROR_LINE}{error}", file=sys.stderr)
    print(f"{sealed} sealed files, {damaged} damaged")
    return 1 if damaged else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
