"""What the verbs of the command line share: how one is added, numbers, and places to write to."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from switchyard.errors import InputError


def add_verb(
    verbs: argparse._SubParsersAction, name: str, run: Callable[[argparse.Namespace], int | None]
) -> argparse.ArgumentParser:
    """A verb that calls `run`, whose docstring is its help and whose answer, if any, is the exit status."""
    verb = verbs.add_parser(name, help=run.__doc__, description=run.__doc__)
    verb.set_defaults(run=run)
    return verb


def at_least(least: float, kind: type = float) -> Callable[[str], float]:
    """A reader of numbers from `least` upwards for argparse; for others it raises ArgumentTypeError."""

    def number(text: str) -> float:
        if not least <= (found := kind(text)) < float("inf"):
            raise argparse.ArgumentTypeError(f"{text}; give {least:g} or more")
        return found

    return number


def folder_to_write(path: Path) -> Path:
    """The folder itself; an InputError where a file has its name."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file; give a folder to write into")
    return path


def file_to_write(path: Path) -> Path:
    """The file itself; an InputError where a folder has its name."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a file to write")
    return path
