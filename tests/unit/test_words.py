"""Plain words in what people read: README, docs, configuration, captions, templates, and the strings of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFUSED = {
    "told": "reported",
    "mend": "fix",
    "mended": "fixed",
    "seal": "checksum",
    "seals": "checksums",
    "sealed": "with a checksum",
    "loud": "large, or the quantity's name",
    "tally": "counter",
    "tallies": "counters",
    "resident": "worker, or held in memory",
    "dial": "hyperparameter",
    "dials": "hyperparameters",
    "coin": "random allocation",
    "held against": "compared with",
}
"""Words that are not used, and what to write."""
PATTERN = re.compile(rf"\b({'|'.join(REFUSED)})\b", re.IGNORECASE)
READ = (
    "*.md",
    "*.yaml",
    "docs/**/*.md",
    "reports/**/*",
    "studies/*.yaml",
    "resources/*/README.md",
    "profiles/*/*.yaml",
)
CODE = ("lib/**/*.py", "workflow_scripts/*.py", "rules/*.smk", "Snakefile", "bench/*.py")


def found(text: str) -> list[str]:
    return [f"{word.group(1)!r}: write {REFUSED[word.group(1).lower()]}" for word in PATTERN.finditer(text)]


def strings(path: Path) -> Iterator[str]:
    """Literals of a Python file, docstrings among them; the whole text of another file."""
    text = path.read_text()
    if path.suffix != ".py":
        yield text
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def files(patterns: tuple[str, ...]) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file())


@pytest.mark.parametrize("patterns", [READ, CODE], ids=["texts", "code"])
def test_no_word_is_used_that_a_reader_must_decode(patterns: tuple[str, ...]) -> None:
    paths = files(patterns)
    assert len(paths) > 15
    wrong = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in paths
        for part in strings(path)
        for word in found(part)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_search_finds_words_and_no_parts_of_words() -> None:
    assert found("Weights are Told apart, and recommended aloud in dialects.") == ["'Told': write reported"]
    assert found("It is held against a coin.") == [
        "'held against': write compared with",
        "'coin': write random allocation",
    ]
