"""The table of scores: one row per sample with what its metric is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from switchyard.evaluation.likelihood import SequenceScore, count_tokens
from switchyard.evaluation.sequences import Sample

SCHEMA = pa.schema(
    {
        "sample_id": pa.int64(),
        "log_likelihood": pa.list_(pa.float64()),  # nats; one per option, one for text and cloze
        "target_tokens": pa.list_(pa.int32()),  # likewise
        "tokens": pa.int32(),  # input tokens of all sequences, without padding
        "bytes": pa.int64(),  # text: the window's share of the original page
        "words": pa.int64(),
        "characters": pa.list_(pa.int32()),  # choice: of each option
        "predicted": pa.int32(),  # choice: the likeliest option
        "predicted_norm": pa.int32(),  # choice: the likeliest per character
        "target": pa.int32(),  # choice: the true option
        "correct": pa.bool_(),  # choice: predicted is the target; cloze: greedy decoding gives the word
        "correct_norm": pa.bool_(),  # choice: predicted_norm is the target
        "greedy": pa.bool_(),  # cloze: every target token is the model's first choice
        "argmax_ids": pa.list_(pa.int32()),  # the model's first choice at every scored position
        "loss": pa.float64(),  # nats, summed over the loss_tokens
        "loss_tokens": pa.int32(),  # all targets of a text, the last word, the true option
        "text_preview": pa.string(),
    }
)
"""Columns; null where one does not apply to a kind."""


def score_table(kind: str, samples: list[Sample], scores: list[SequenceScore]) -> pa.Table:
    """The scores of samples, in order of `sample_id`.

    Args:
        kind: perplexity, cloze or choice.
        samples: in any order.
        scores: one per sequence, in the order of the samples and of their sequences.
    """
    rows, start = [], 0
    for sample in samples:
        end = start + len(sample.sequences)
        own = scores[start:end]
        rows.append(_common(sample, own) | _KINDS[kind](sample, own))
        start = end
    rows.sort(key=lambda row: row["sample_id"])
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _common(sample: Sample, scores: list[SequenceScore]) -> dict[str, Any]:
    return {
        "sample_id": sample.sample_id,
        "log_likelihood": [score.log_likelihood for score in scores],
        "target_tokens": [len(score.argmax_ids) for score in scores],
        "tokens": count_tokens(sample.sequences),
        "argmax_ids": np.concatenate([score.argmax_ids for score in scores]).tolist(),
        "text_preview": sample.preview,
    }


def _loss(score: SequenceScore) -> dict[str, Any]:
    return {"loss": -score.log_likelihood, "loss_tokens": len(score.argmax_ids)}


def _text(sample: Sample, scores: list[SequenceScore]) -> dict[str, Any]:
    return {"bytes": sample.bytes, "words": sample.words} | _loss(scores[0])


def _cloze(sample: Sample, scores: list[SequenceScore]) -> dict[str, Any]:
    greedy = scores[0].argmax_ids.tolist() == sample.sequences[0].target_ids
    return {"correct": greedy, "greedy": greedy} | _loss(scores[0])


def _choice(sample: Sample, scores: list[SequenceScore]) -> dict[str, Any]:
    likelihoods = np.array([score.log_likelihood for score in scores])
    predicted = int(np.argmax(likelihoods))
    predicted_norm = int(np.argmax(likelihoods / np.array(sample.characters, dtype=float)))
    return {
        "characters": sample.characters,
        "predicted": predicted,
        "predicted_norm": predicted_norm,
        "target": sample.label,
        "correct": predicted == sample.label,
        "correct_norm": predicted_norm == sample.label,
    } | _loss(scores[sample.label])


_KINDS: dict[str, Callable[[Sample, list[SequenceScore]], dict[str, Any]]] = {
    "perplexity": _text,
    "cloze": _cloze,
    "choice": _choice,
}
