"""The path that snakemake hands to a shell unquoted: that of the Python which runs the jobs."""

from __future__ import annotations

import re

from switchyard.errors import InputError

UNSAFE = re.compile(r"[^\w@%+=:,./-]")
"""A character that a shell may not take as it stands."""


def check(executable: str) -> None:
    """Raise `InputError` if a shell would misread the path of this Python."""
    if found := UNSAFE.search(executable):
        raise InputError(
            f"{executable}: the path of this Python holds {found[0]!r}, and snakemake does not quote the path when it "
            "starts a job; move the checkout to a folder whose path has no blank and no shell character, remove .venv "
            "there, then run the same command"
        )
