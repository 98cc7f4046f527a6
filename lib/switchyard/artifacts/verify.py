"""Verb `verify`: look for damaged files below a folder."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from switchyard.arguments import add_verb
from switchyard.artifacts.digests import check_weight_file
from switchyard.artifacts.files import check_pages, read_json
from switchyard.errors import InputError

CHECKS: dict[str, Callable[[Path], object]] = {
    ".parquet": check_pages,
    ".json": read_json,
    ".safetensors": check_weight_file,
}
"""What is done to a file, by its ending; other files hold nothing to compare them with."""


def verify(arguments: argparse.Namespace) -> int:
    """Check the page checksums of Parquet files, the digests of weights and the syntax of JSON below a folder."""
    if not arguments.folder.is_dir():
        raise InputError(f"{arguments.folder}: no such folder; give the folder of a study, results/<study>")
    errors = [_error(path) for path in _files(arguments.folder)]
    found = [error for error in errors if error]
    print(*found, f"{len(errors)} files checked, {len(found)} damaged", sep="\n")
    return 1 if found else 0


def _files(folder: Path) -> Iterator[Path]:
    """Files that can be checked; hidden ones are unfinished or belong to other programs."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in CHECKS and path.is_file() and not hidden:
            yield path


def _error(path: Path) -> InputError | None:
    try:
        CHECKS[path.suffix](path)
    except InputError as error:
        return error
    return None


def register(verbs: argparse._SubParsersAction) -> None:
    """Add `verify`, which sets `run`."""
    verb = add_verb(verbs, "verify", verify)
    verb.add_argument("folder", type=Path, help="folder of a study, results/<study>, or any other")
