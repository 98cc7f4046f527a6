"""Router logits of the untouched model: the first tokens of the text, in order, without padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from switchyard.errors import InputError
from switchyard.evaluation.router_logits import collect_router_logits
from switchyard.evaluation.sequences import all_sequences, build_samples


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def collect(model: Any, tokenizer: Any, text: pa.Table, tokens: int, **changes: Any) -> list[np.ndarray]:
    settings = {"tokens": tokens, "max_length": 16, "batch_tokens": 64, **changes}
    return collect_router_logits(model, tokenizer, text, **settings)


def by_hand(model: Any, tokenizer: Any, text: pa.Table, max_length: int = 16) -> list[np.ndarray]:
    """Every window alone through the model, which returns its own router logits."""
    parts: list[list[np.ndarray]] = [[] for _ in range(2)]
    for sequence in all_sequences(build_samples(text, tokenizer, max_length=max_length)):
        with torch.no_grad():
            output = model.model(torch.tensor([sequence.input_ids]), output_router_logits=True)
        for layer, logits in enumerate(output.router_logits):
            parts[layer].append(logits.float().numpy())
    return [np.concatenate(part) for part in parts]


def in_any_order(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(np.round(rows, 3).T)]


def test_logits_are_the_model_s_own(model: Any, tokenizer: Any, tables: dict[str, pa.Table]) -> None:
    expected = by_hand(model, tokenizer, tables["perplexity"])
    found = collect(model, tokenizer, tables["perplexity"], len(expected[0]))
    assert len(found) == 2
    for own, other in zip(found, expected):
        assert own.shape == other.shape and own.dtype == np.float32
        np.testing.assert_allclose(in_any_order(own), in_any_order(other), atol=1e-4)


@pytest.mark.parametrize("tokens", [1, 15, 16, 17, 60])
def test_exactly_the_tokens_asked_for(
    tokens: int, model: Any, tokenizer: Any, tables: dict[str, pa.Table]
) -> None:
    assert [part.shape for part in collect(model, tokenizer, tables["perplexity"], tokens)] == [
        (tokens, 8)
    ] * 2


def test_no_row_is_padding(model: Any, tokenizer: Any, tables: dict[str, pa.Table]) -> None:
    """Batches of one window have none, so that a bigger batch may not bring other rows."""
    text = tables["perplexity"]
    total = len(by_hand(model, tokenizer, text)[0])
    alone = collect(model, tokenizer, text, total, batch_tokens=1)
    together = collect(model, tokenizer, text, total, batch_tokens=10_000)
    for own, other in zip(alone, together):
        np.testing.assert_allclose(in_any_order(own), in_any_order(other), atol=1e-4)


def test_collecting_repeats_bit_for_bit_and_leaves_the_model_alone(
    model: Any, tokenizer: Any, tables: dict[str, pa.Table]
) -> None:
    first, second = (collect(model, tokenizer, tables["perplexity"], 50) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second))
    assert not model.model._forward_pre_hooks


def test_windows_are_counted_as_progress(model: Any, tokenizer: Any, tables: dict[str, pa.Table]) -> None:
    done: list[int] = []
    collect(model, tokenizer, tables["perplexity"], 40, progress=done.append)
    assert 3 <= sum(done) <= 6


def test_too_short_a_text_is_told(model: Any, tokenizer: Any, tables: dict[str, pa.Table]) -> None:
    total = len(by_hand(model, tokenizer, tables["perplexity"])[0])
    with pytest.raises(InputError, match=f"holds {total} tokens of {total + 1}; lower calibration.tokens"):
        collect(model, tokenizer, tables["perplexity"], total + 1)
