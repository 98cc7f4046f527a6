"""Batched log-likelihoods equal those of one sequence at a time."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.likelihood import log_likelihood
from switchyard.errors import InputError
from switchyard.evaluation import likelihood
from switchyard.evaluation.likelihood import lowest_argmax, pad_rows, plan_batches, score
from switchyard.evaluation.sequences import Sequence


class Recorder:
    """Keeps the labels of every forward."""

    def __init__(self) -> None:
        self.labels: list[tuple[int, int]] = []

    def label(self, *, sample: list[int], sequence: list[int]) -> None:
        self.labels += zip(sample, sequence, strict=True)


class Table(torch.nn.Module):
    """A model whose logits at a position are a row of a table, chosen by the token that stands there."""

    device = torch.device("cpu")

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, input_ids: Any, logits_to_keep: Any, **others: Any) -> Any:
        return SimpleNamespace(logits=self.logits[input_ids][logits_to_keep])


def random_sequences(number: int, vocabulary: int) -> list[Sequence]:
    random = np.random.default_rng(7)
    found = []
    for i in range(number):
        length = int(random.integers(1, 40))
        tokens = random.integers(2, vocabulary, length + 1).tolist()
        found.append(Sequence(i // 2, i % 2, tokens[:-1], tokens[-int(random.integers(1, length + 1)) :]))
    return found


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 200))
def test_batches_hold_every_sequence_once_within_the_budget(lengths: list[int], batch_tokens: int) -> None:
    batches = plan_batches(lengths, batch_tokens=batch_tokens)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= batch_tokens
    longest = [lengths[batch[0]] for batch in batches]
    assert longest == sorted(longest, reverse=True)


def test_without_a_budget_sequences_run_alone_in_their_order() -> None:
    assert plan_batches([3, 9, 1], batch_tokens=None) == [[0], [1], [2]]


def test_padding_is_masked_and_only_the_last_positions_are_scored() -> None:
    rows = [Sequence(0, 0, [5, 6, 7], [8]), Sequence(1, 0, [9], [4])]
    input_ids, real, scored = pad_rows(rows, 1)
    assert input_ids.tolist() == [[5, 6, 7], [9, 1, 1]]
    assert real.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert scored.tolist() == [[False, False, True], [True, False, False]]


@pytest.mark.parametrize("batch_tokens", [None, 1, 64, 10_000])
def test_scores_equal_the_plain_version(model: Any, batch_tokens: int | None) -> None:
    sequences = random_sequences(12, model.config.vocab_size)
    scores = score(model, sequences, batch_tokens=batch_tokens, pad_id=1)
    for sequence, result in zip(sequences, scores, strict=True):
        expected, best = log_likelihood(model, sequence.input_ids, sequence.target_ids)
        np.testing.assert_allclose(result.log_likelihoods, expected, atol=2e-5)
        assert result.log_likelihoods.dtype == np.float32
        assert result.argmax_ids.tolist() == best
        assert math.isclose(result.log_likelihood, sum(expected), abs_tol=1e-4)


def test_cutting_the_log_softmax_changes_no_bit(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = random_sequences(6, model.config.vocab_size)
    whole = score(model, sequences, batch_tokens=200, pad_id=1)
    monkeypatch.setattr(likelihood, "LOG_SOFTMAX_VALUES", 1)
    pieces = score(model, sequences, batch_tokens=200, pad_id=1)
    for a, b in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(a.log_likelihoods, b.log_likelihoods)


def test_every_row_is_labelled_and_progress_reaches_the_end(model: Any) -> None:
    sequences, done, recorder = random_sequences(9, model.config.vocab_size), [], Recorder()
    score(model, sequences, batch_tokens=100, pad_id=1, attachment=recorder, progress=done.append)
    assert sorted(recorder.labels) == sorted((s.sample, s.sequence) for s in sequences)
    assert sum(done) == len(sequences)


def test_equally_likely_tokens_give_the_lowest() -> None:
    values = torch.tensor([[0.0, 2.0, 2.0, 1.0], [3.0, 3.0, 3.0, 3.0]])
    assert lowest_argmax(values).tolist() == [1, 0]
    model = Table(torch.zeros(4, 4))
    (result,) = score(model, [Sequence(0, 0, [2, 3], [1, 2])], batch_tokens=8, pad_id=0)
    assert result.argmax_ids.tolist() == [0, 0]
    assert result.log_likelihood == pytest.approx(-2 * math.log(4))


def test_what_is_not_a_number_names_its_sample() -> None:
    logits = torch.zeros(4, 4)
    logits[3] = float("nan")
    sequences = [Sequence(0, 0, [1, 2], [2]), Sequence(5, 1, [1, 3], [2])]
    with pytest.raises(InputError, match="sample 5, sequence 1: log-likelihoods are not numbers"):
        score(Table(logits), sequences, batch_tokens=8, pad_id=0)


def test_a_token_that_cannot_come_is_no_error() -> None:
    logits = torch.zeros(4, 4)
    logits[:, 2] = -math.inf
    (result,) = score(Table(logits), [Sequence(0, 0, [1], [2])], batch_tokens=8, pad_id=0)
    assert result.log_likelihood == -math.inf
