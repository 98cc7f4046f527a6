"""One row per sample, with what its metric is made of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reference.likelihood import choice_metrics
from switchyard.evaluation.likelihood import SequenceScore
from switchyard.evaluation.scores import SCHEMA, score_table
from switchyard.evaluation.sequences import Sample, Sequence


def scored(*log_likelihoods: float, argmax: tuple[int, ...] | None = None) -> SequenceScore:
    ids = argmax or (7,) * len(log_likelihoods)
    return SequenceScore(np.array(log_likelihoods, np.float32), np.array(ids))


def choice(name: int, label: int, characters: list[int]) -> Sample:
    sequences = [Sequence(name, i, [1, 2], [3]) for i in range(len(characters))]
    return Sample(name, sequences, "once", characters=characters, label=label)


def test_text_counts_all_its_targets() -> None:
    sample = Sample(0, [Sequence(0, 0, [1, 2, 3], [2, 3, 4])], "once", bytes=9, words=2)
    (row,) = score_table("perplexity", [sample], [scored(-1.0, -0.5, -0.25)]).to_pylist()
    assert row["loss"] == 1.75
    assert (row["loss_tokens"], row["tokens"], row["bytes"], row["words"]) == (3, 3, 9, 2)
    assert row["log_likelihood"] == [-1.75]
    for name in ("characters", "predicted", "predicted_norm", "target", "correct", "correct_norm", "greedy"):
        assert row[name] is None


@pytest.mark.parametrize(("argmax", "correct"), [((5, 6), True), ((5, 9), False), ((9, 6), False)])
def test_a_cloze_is_right_when_every_token_is_the_first_choice(
    argmax: tuple[int, ...], correct: bool
) -> None:
    sample = Sample(0, [Sequence(0, 0, [1, 5], [5, 6])], "once")
    (row,) = score_table("cloze", [sample], [scored(-1.0, -2.0, argmax=argmax)]).to_pylist()
    assert (row["correct"], row["greedy"]) == (correct, correct)
    assert (row["loss"], row["loss_tokens"], row["correct_norm"]) == (3.0, 2, None)
    assert row["argmax_ids"] == list(argmax)


def test_choice_is_made_by_likelihood_and_by_likelihood_per_character() -> None:
    scores = [scored(-4.0), scored(-2.0, -3.0)]
    (row,) = score_table("choice", [choice(0, 1, [4, 10])], scores).to_pylist()
    assert row["log_likelihood"] == [-4.0, -5.0]
    assert (row["predicted"], row["correct"]) == (0, False)
    assert (row["predicted_norm"], row["correct_norm"]) == (1, True)
    assert (row["loss"], row["loss_tokens"], row["tokens"]) == (5.0, 2, 4)


def test_a_tie_goes_to_the_lowest_option() -> None:
    scores = [scored(-2.0), scored(-2.0), scored(-2.0)]
    (row,) = score_table("choice", [choice(0, 2, [3, 3, 3])], scores).to_pylist()
    assert (row["predicted"], row["predicted_norm"]) == (0, 0)


def test_rows_come_in_order_of_sample_whatever_order_they_ran_in() -> None:
    samples = [choice(name, 0, [2, 2]) for name in (2, 0, 1)]
    scores = [scored(-float(3 * i + j)) for i in range(3) for j in range(2)]
    table = score_table("choice", samples, scores)
    assert table["sample_id"].to_pylist() == [0, 1, 2]
    assert table["log_likelihood"].to_pylist() == [[-3.0, -4.0], [-6.0, -7.0], [0.0, -1.0]]
    assert table.schema.equals(SCHEMA)


def test_sums_are_made_in_double_precision() -> None:
    many = scored(*([-1e-4] * 10_000 + [-1e4]))
    assert math.isclose(many.log_likelihood, -1e4 - 1e4 * float(np.float32(1e-4)), rel_tol=1e-12)


def test_choice_metrics_equal_the_plain_version() -> None:
    random = np.random.default_rng(3)
    samples = [choice(i, int(random.integers(4)), random.integers(1, 30, 4).tolist()) for i in range(50)]
    scores = [scored(*-random.exponential(3, int(random.integers(1, 6)))) for _ in range(200)]
    table = score_table("choice", samples, scores)
    plain = choice_metrics(table.to_pylist())
    assert plain["acc"] == np.mean(table["correct"].to_pylist())
    assert plain["acc_norm"] == np.mean(table["correct_norm"].to_pylist())
    total = sum(table["loss"].to_pylist()) / sum(table["loss_tokens"].to_pylist())
    assert math.isclose(plain["perplexity"], math.exp(total))
