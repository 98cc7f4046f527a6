"""Which document was in which split when the shipped models were trained.

A document's split follows from its text. When another version of a package rewords a document, its new text may
land in the test split although the models were trained on the old wording: such a document is reported and left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from switchyard.text.corpus import Document

_DIGITS = 12


def manifest_line(document: Document) -> str:
    """Tab-separated: short hash of the document's name, short digest of its text."""
    return f"{_short(document.name)}\t{document.digest[:_DIGITS]}"


def write_manifest(path: Path, documents: Iterable[Document]) -> None:
    """Write the training side of a corpus, one line a document."""
    lines = sorted(manifest_line(d) for d in documents if d.split == "train")
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def moved(documents: Iterable[Document], manifest: Path) -> list[Document]:
    """Documents outside today's training split that the shipped models saw in another wording."""
    known = dict(line.split("\t") for line in manifest.read_text(encoding="ascii").splitlines())
    return [
        d
        for d in documents
        if d.split != "train" and known.get(_short(d.name), d.digest[:_DIGITS]) != d.digest[:_DIGITS]
    ]


def _short(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
