"""One small model and its tokenizer for all tests of the evaluation."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from reference.tiny import WORDS, tiny_model, tiny_tokenizer
from switchyard.text.sources import Row
from switchyard.text.tasks import prepare


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def model(tokenizer: Any) -> Any:
    return tiny_model(vocabulary=len(tokenizer))


def prepared(kind: str, records: list[dict[str, Any]]) -> pa.Table:
    """A prepared table from rows in the plain layout."""
    rows = [Row.of("made.jsonl", number, record) for number, record in enumerate(records, 1)]
    return prepare(rows, kind=kind, layout="plain")


@pytest.fixture(scope="session")
def tables() -> dict[str, pa.Table]:
    """A prepared table of each kind."""
    words = WORDS.split()
    pieces = [" ".join(words[i : i + 5 + 3 * i]) for i in range(6)]
    return {
        "perplexity": prepared("perplexity", [{"text": f"{p}. {p}."} for p in pieces]),
        "cloze": prepared("cloze", [{"context": p, "target": words[-1 - i]} for i, p in enumerate(pieces)]),
        "choice": prepared(
            "choice",
            [
                {"context": p, "options": ["the dog ends", "a cat", "Pole vault, zebra"], "label": i % 3}
                for i, p in enumerate(pieces)
            ],
        ),
    }
