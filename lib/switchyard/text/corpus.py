"""The pocket corpus: real English from the documentation strings of installed packages.

No download is needed and no package is imported: sources are parsed with `ast`, so the harvest
depends only on the files that the lock installs.

A document is one documentation string of at least `MIN_CHARACTERS`. Its split follows from the hash
of its own text, so that the same text is always on the same side, whatever else is installed.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from switchyard.errors import InputError

PACKAGES = ("numpy", "scipy", "pandas", "scikit-learn")
"""Distributions that are harvested: large, pinned by the lock, written by people, in one style (numpydoc)."""

MIN_CHARACTERS = 400
"""Shorter strings are mostly signatures and one-liners, which teach a model little English."""

NEAR_DUPLICATE_SHARE = 0.8
"""A document is left out when at least this share of its long lines stood in documents kept before."""

LONG_LINE = 30
"""Lines of fewer characters (headings, rulers, `array_like`) say nothing about being a copy."""

SPLIT_SHARES = {"test": 0.1, "validation": 0.04, "calibration": 0.04}
"""Shares by document hash; the rest is `train`."""

_DOC_CALLS = {"add_newdoc", "add_docstr", "add_chained_docstr", "_add_docstr"}


@dataclass(frozen=True)
class Document:
    """One documentation string: where it stands, and what it says."""

    name: str  # package/path/module.py:Class.method
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def split(self) -> str:
        """The side this text is on: train, calibration, validation or test."""
        point = int(self.digest[:12], 16) / 16**12
        for split, share in SPLIT_SHARES.items():
            if point < share:
                return split
            point -= share
        return "train"


def harvest(
    packages: Sequence[str] = PACKAGES, *, progress: Callable[[int], object] = lambda done: None
) -> list[Document]:
    """Collect the distinct documentation strings of `packages`, ordered by digest.

    Args:
        packages: names of installed distributions.
        progress: called with 1 after each package.

    Raises:
        InputError: a package is not installed, or nothing was found.
    """
    candidates: dict[str, Document] = {}
    for name in packages:
        candidates |= {document.digest: document for document in _documents_of(name)}
        progress(1)
    documents = drop_near_duplicates(candidates[key] for key in sorted(candidates))
    if not documents:
        raise InputError(f"no documentation strings found in {', '.join(packages)}; name installed packages")
    return documents


def drop_near_duplicates(documents: Iterable[Document]) -> list[Document]:
    """Keep documents, in order, whose long lines are mostly new.

    Documentation repeats itself (`fit`, `predict`, `pdf`, ...); a test document that is a copy of a
    training document with another name would measure memory, not modelling.
    """
    seen: set[int] = set()
    kept = []
    for document in documents:
        lines = [hash_line(s) for line in document.text.splitlines() if len(s := line.strip()) >= LONG_LINE]
        if lines and sum(line in seen for line in lines) < NEAR_DUPLICATE_SHARE * len(lines):
            kept.append(document)
            seen.update(lines)
    return kept


def fingerprint(documents: Iterable[Document]) -> str:
    """SHA-256 over the sorted digests: equal exactly when the corpora are equal."""
    return hashlib.sha256("\n".join(sorted(d.digest for d in documents)).encode()).hexdigest()


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Installed version of each harvested distribution, without local labels such as `+cpu`."""
    return {name: importlib.metadata.version(name).split("+")[0] for name in packages}


def hash_line(line: str) -> int:
    """A 64-bit hash of a line that does not change between processes."""
    return int.from_bytes(hashlib.blake2b(line.encode(), digest_size=8).digest(), "big")


def _documents_of(distribution: str) -> Iterator[Document]:
    try:
        files = importlib.metadata.distribution(distribution).files or []
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(
            f"corpus package {distribution!r} is not installed; install it or drop it from the corpus"
        ) from error
    for file in sorted(files, key=str):
        if file.suffix == ".py" and "tests" not in file.parts:
            yield from _documents_in(str(file), Path(file.locate()))


def _documents_in(name: str, path: Path) -> Iterator[Document]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError:  # torch ships modules in the syntax of later Pythons
        return
    for where, text in _strings(tree):
        text = inspect.cleandoc(text).strip()
        if len(text) >= MIN_CHARACTERS:
            yield Document(name=f"{name}:{where}", text=text)


def _strings(node: ast.AST, where: str = "") -> Iterator[tuple[str, str]]:
    """Docstrings below `node`, and texts handed to calls that attach documentation."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        text = ast.get_docstring(node, clean=False)
        if text:
            yield where, text
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call) and _called(child) in _DOC_CALLS:
            for number, text in enumerate(_literals(child)):
                yield f"{where}@{child.lineno}.{number}", text
        name = getattr(child, "name", None)
        inner = f"{where}.{name}" if where and name else name or where
        yield from _strings(child, inner if isinstance(inner, str) else where)


def _called(call: ast.Call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def _literals(call: ast.Call) -> Iterator[str]:
    for argument in call.args:
        for node in ast.walk(argument):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
