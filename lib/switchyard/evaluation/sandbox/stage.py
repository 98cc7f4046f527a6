"""What a sandbox is built from: a copy of the interpreter, the runner and the filter, in a folder anyone may read.

The interpreter is copied (some 40 MB, a second) because the ordinary user that candidates run as may not be able to
reach the one that runs this, which a root user often has at home. Its installed packages stay behind.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from switchyard.evaluation.sandbox.filter import write_filter

DATA_FILES = ("runner.py",)

NOT_COPIED = (
    *("site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo"),
    *("ensurepip", "lib2to3", "config-*", "pydoc_data", "*.a"),
)
"""Parts of the standard library that no candidate needs, and what is installed beside it."""


OFTEN_IMPORTED = (
    *(
        "json",
        "resource",
        "ctypes",
        "landlockpy",
        "typing",
        "math",
        "re",
        "collections",
        "itertools",
        "functools",
    ),
    *(
        "heapq",
        "bisect",
        "string",
        "random",
        "copy",
        "operator",
        "datetime",
        "hashlib",
        "cmath",
        "statistics",
    ),
)
"""Modules that are compiled once, and not by every candidate."""


class Stage:
    """The folder and what lies in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "python"
        """`bin/python`, `lib/python3.x` and, where the interpreter has one, its shared library."""
        self.runner = folder / "runner.py"
        self.filter = folder / "filter.bpf"
        self.packages = folder / "packages"
        """`landlockpy`, if it is installed."""


@contextmanager
def staged() -> Iterator[Stage]:
    """A stage for the `with` block.

    Raises:
        InputError: libseccomp is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="switchyard-sandbox-") as name:
        stage = Stage(Path(name).resolve())
        _copy_python(stage.python)
        shutil.copy(Path(__file__).with_name("runner.py"), stage.runner)
        stage.packages.mkdir()
        if (found := importlib.util.find_spec("landlockpy")) is not None:
            shutil.copytree(Path(found.origin).parent, stage.packages / "landlockpy")
        write_filter(stage.filter)
        _compile(stage)
        _open_to_readers(stage.folder)
        yield stage


def _copy_python(folder: Path) -> None:
    """The interpreter behind this one's virtual environment, compiled where it now lies."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "bin").mkdir(parents=True)
    shutil.copy(os.path.realpath(sys._base_executable), folder / "bin" / "python")
    library = folder / "lib" / version
    shutil.copytree(sysconfig.get_path("stdlib"), library, ignore=shutil.ignore_patterns(*NOT_COPIED))
    shared = sysconfig.get_config_var("INSTSONAME") or ""
    if ".so" in shared:
        shutil.copy(Path(sysconfig.get_config_var("LIBDIR"), shared), folder / "lib")


def _compile(stage: Stage) -> None:
    """Leave compiled modules where an interpreter came without them."""
    program = f"""
import contextlib, sys
sys.path.append({str(stage.packages)!r})
for name in {OFTEN_IMPORTED!r}:
    with contextlib.suppress(ImportError):
        __import__(name)
"""
    variables = {"LD_LIBRARY_PATH": str(stage.python / "lib")}
    command = [stage.python / "bin" / "python", "-s", "-S", "-P", "-c", program]
    subprocess.run(command, env=variables, cwd="/", check=True)


def _open_to_readers(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
