"""Write envs/lock.txt and the conda files: `.venv/bin/python envs/make.py`, after a change of dependencies.

The lock holds the installed version of all that pyproject.toml names and all that those need. A conda file holds
the part of the lock that one capability needs; `conda:` of a rule names it. tests/workflow/test_lock.py keeps the
files equal to what this script would write.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ENVS = Path(__file__).resolve().parent

EVERYWHERE = ("jsonschema", "numpy", "orjson", "pyarrow", "pyyaml", "tqdm")
"""What the library's shared modules import."""

CAPABILITIES = {
    # The pocket corpus is harvested from the packages, hence all of them.
    # zstandard: what datasets needs for files that end in .zst, as SlimPajama's do.
    "text": (
        *("datasets", "pandas", "scikit-learn", "scipy", "tokenizers", "torch", "transformers", "zstandard"),
    ),
    # accelerate: without it transformers loads no weights straight onto a card.
    "model": (
        *(
            "accelerate",
            "bitsandbytes",
            "filelock",
            "safetensors",
            "scipy",
            "tokenizers",
            "torch",
            "transformers",
        ),
    ),
    "tables": ("duckdb", "pandas", "scipy"),
    "sandbox": ("landlockpy", "pyseccomp"),
    "report": ("altair", "duckdb", "jinja2", "markdown-it-py", "pandas", "scipy", "vl-convert-python"),
}
"""Capability (the name of a conda file) -> the packages it imports beside those of `EVERYWHERE`."""

LOCK_HEADER = """\
# Exact versions of everything in .venv; written by envs/make.py from what pyproject.toml names, not by hand.
# Builds of torch for a GPU bring their own CUDA packages, at versions that torch itself pins.
"""

CONDA_HEADER = """\
# Written by envs/make.py from envs/lock.txt, not by hand.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def direct_requirements() -> list[str]:
    """Everything pyproject.toml names, for running and for testing."""
    project = tomllib.loads((ENVS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["test"]]


def closure(requirements: Iterable[str]) -> set[str]:
    """Canonical names of the installed distributions that `requirements` need, themselves included.

    Markers are not evaluated but for extras, so that the answer is the same on every platform; what is named for
    another platform and not installed is left out.
    """
    reached: set[tuple[str, str]] = set()
    waiting = [item for text in requirements for item in _wanted(Requirement(text))]
    while waiting:
        item = waiting.pop()
        if item not in reached:
            reached.add(item)
            waiting.extend(_needs(*item))
    return {name for name, _ in reached}


def _wanted(requirement: Requirement) -> list[tuple[str, str]]:
    """(name, extra) pairs that a requirement asks for; the extra "" is the package itself."""
    name = canonicalize_name(requirement.name)
    return [(name, extra) for extra in ("", *sorted(requirement.extras))]


def _needs(name: str, extra: str) -> Iterator[tuple[str, str]]:
    for text in metadata.requires(name) or []:
        requirement = Requirement(text)
        extras = re.findall(r"extra\s*==\s*[\"']([^\"']+)[\"']", str(requirement.marker or ""))
        if (extra in extras or (not extras and not extra)) and _is_installed(requirement.name):
            yield from _wanted(requirement)


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def installed_version(name: str) -> str:
    """The installed version without its local part: `2.13.0` where a build for CPUs calls itself `2.13.0+cpu`."""
    return metadata.version(name).split("+")[0]


def lock_text() -> str:
    """The lock as it follows from what is installed."""
    names = sorted(closure(direct_requirements()))
    return LOCK_HEADER + "".join(f"{name}=={installed_version(name)}\n" for name in names)


def read_lock(text: str) -> dict[str, str]:
    """Canonical name -> version of a lock's lines."""
    lines = (line.strip() for line in text.splitlines())
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def conda_texts(lock: Mapping[str, str]) -> dict[str, str]:
    """Capability -> content of its conda file, all versions from the lock."""
    texts = {}
    for capability, packages in CAPABILITIES.items():
        names = sorted(closure([*EVERYWHERE, *packages]))
        texts[capability] = CONDA_HEADER + "".join(f"      - {name}=={lock[name]}\n" for name in names)
    return texts


def main() -> None:
    """Write all files."""
    (ENVS / "lock.txt").write_text(lock_text(), encoding="utf-8")
    for capability, text in conda_texts(read_lock(lock_text())).items():
        (ENVS / f"{capability}.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
