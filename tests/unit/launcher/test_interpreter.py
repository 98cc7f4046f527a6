"""Which paths of a Python a shell takes as they stand."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from switchyard.errors import InputError
from switchyard.launcher import interpreter


@pytest.mark.parametrize("path", ["/home/me/x-1.0_b+c/.venv/bin/python3.11", "/home/zoé/日本/bin/python"])
def test_a_path_that_a_shell_takes_as_it_stands(path: str) -> None:
    interpreter.check(path)
    assert (
        subprocess.run(["bash", "-c", f"echo {path}"], capture_output=True, text=True).stdout == f"{path}\n"
    )


@pytest.mark.parametrize("character", [*" \t\n!\"#$&'()*;<>?[\\]^`{|}~"])
def test_one_that_it_may_not(character: str) -> None:
    path = f"/home/a{character}b/bin/python"
    assert shlex.quote(path) != path
    with pytest.raises(InputError, match="move the checkout"):
        interpreter.check(path)
