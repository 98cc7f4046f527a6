"""Run stamps: what made a result, in every file that a job publishes."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
"""Raised when the layout of a stamp changes."""

LIBRARIES = (
    "altair",
    "bitsandbytes",
    "datasets",
    "duckdb",
    "numpy",
    "orjson",
    "pandas",
    "pyarrow",
    "safetensors",
    "scikit-learn",
    "scikit-optimize",
    "scipy",
    "snakemake",
    "tokenizers",
    "torch",
    "transformers",
    "vl-convert-python",
)
"""Distributions whose version can move a number or a picture."""

CHECKOUT = Path(__file__).parents[3]

_MARKDOWN_NOTE = re.compile(r"\n*<!-- switchyard: (\{.*\}) -->\s*\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def stamp(
    *, code: str, config: Any, inputs: Mapping[str, str | Path], model: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The run stamp of a result: what made it, and nothing that differs between two equal runs.

    `code` is a `fingerprint`, `config` the settings the result depends on (anything JSON can hold), `inputs` maps a
    name to a SHA-256 or to a path that is hashed here, `model` describes the model where there is one. No time, host
    or path stands in it.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "code": code,
        "commit": commit(),
        "config": sha256_json(config),
        "inputs": {name: _sha256_of(value) for name, value in sorted(inputs.items())},
        "model": None if model is None else dict(model),
        "python": platform.python_version(),
        "libraries": dict(library_versions()),
    }


def derived(parent: Mapping[str, Any], *, code: str) -> dict[str, Any]:
    """The run stamp of what is made from a stamped result alone: its inputs, and `upstream`, the code that made it."""
    return {
        **parent,
        "code": code,
        "commit": commit(),
        "inputs": {**parent["inputs"], "upstream": parent["code"]},
    }


def _sha256_of(value: str | Path) -> str:
    return value if isinstance(value, str) and _SHA256.fullmatch(value) else sha256_file(value)


def sha256_json(content: Any) -> str:
    """SHA-256 of `content` as JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file; a process reads it once, unless its size or time of change is another."""
    status = os.stat(path)
    return _sha256_once(Path(path).resolve(), status.st_ino, status.st_size, status.st_mtime_ns)


@cache
def _sha256_once(path: Path, inode: int, size_bytes: int, mtime_ns: int) -> str:
    return hash_file(path)


def hash_file(path: Path) -> str:
    """SHA-256 of a file as it is now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def library_versions() -> tuple[tuple[str, str], ...]:
    """(name, version) of the installed libraries that matter, none of them imported."""
    return tuple((name, version) for name in LIBRARIES if (version := _version(name)) is not None)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@cache
def commit() -> str:
    """Git commit of the checkout that holds the library, `unknown` outside one or without git."""
    checkout = CHECKOUT
    # The ceiling keeps git from answering for a repository that merely surrounds an installed copy.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(checkout.parent)}
    command = ["git", "-C", str(checkout), "rev-parse", "--verify", "HEAD"]
    try:
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return answer.stdout.strip() or "unknown"


def attach_to(path: str | Path, stamp: Mapping[str, Any]) -> Path:
    """Put `stamp` to a file whose format has no place of its own for it; return the file that now holds it.

    Markdown carries it in a closing comment; anything else (CSV) in `sidecar(path)`. JSON results have a field for
    it, Parquet its schema metadata (`switchyard.artifacts.files`), figures their metadata (`switchyard.charts`).
    """
    from switchyard.artifacts.files import atomic

    path = Path(path)
    note = json.dumps(stamp, sort_keys=True)
    if path.suffix != ".md":
        with atomic(sidecar(path)) as partial:
            partial.write_text(note + "\n", encoding="utf-8")
        return sidecar(path)
    text = _MARKDOWN_NOTE.sub("", path.read_text(encoding="utf-8")).rstrip()
    with atomic(path) as partial:
        partial.write_text(
            f"{text}\n\n<!-- switchyard: {note.replace('>', chr(92) + 'u003e')} -->\n", encoding="utf-8"
        )
    return path


def attached(path: str | Path) -> dict[str, Any]:
    """The stamp that `attach_to` put to `path`, `{}` where there is none."""
    path = Path(path)
    if path.suffix != ".md":
        return json.loads(sidecar(path).read_text(encoding="utf-8")) if sidecar(path).is_file() else {}
    note = _MARKDOWN_NOTE.search(path.read_text(encoding="utf-8"))
    return json.loads(note[1]) if note else {}


def sidecar(path: str | Path) -> Path:
    """Where the stamp of a file lies that cannot hold one: `results.csv.provenance.json`."""
    path = Path(path)
    return path.with_name(f"{path.name}.provenance.json")
