"""What a part of the library may import."""

from __future__ import annotations

import subprocess
import sys

ALL_MODULES = """
import importlib, pkgutil, sys
for package in {packages}:
    root = importlib.import_module("switchyard." + package)
    for module in pkgutil.walk_packages(root.__path__, root.__name__ + "."):
        importlib.import_module(module.name)
        if "torch" in sys.modules:
            sys.exit(module.name + " imports torch")
"""


def test_what_draws_and_writes_imports_no_torch() -> None:
    """Jobs that run no model start in a second, and do not depend on code that runs models."""
    code = ALL_MODULES.format(packages=("charts", "reporting", "warehouse"))
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
