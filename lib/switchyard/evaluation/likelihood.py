"""Log-likelihoods of given tokens under a causal language model, in batches of similar length."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from switchyard.errors import InputError
from switchyard.evaluation.sequences import Sequence

Progress = Callable[[int], object]
"""Called with the number of sequences done since the last call; `tqdm.update` is one."""

LOG_SOFTMAX_VALUES = 2**24
"""Logits that are normalised at once in float32 (64 MiB): bounds memory, changes no value."""


class Labelled(Protocol):
    """What `score` needs of an attachment: a way to say whose rows come next."""

    def label(self, *, sample: list[int], sequence: list[int]) -> None:
        """Name the rows of the next forward, one sample and one sequence per row."""
        ...


class SequenceScore(NamedTuple):
    """Of each target token: its log-likelihood in nats, and what the model would have written instead."""

    log_likelihoods: np.ndarray  # float32 [targets]
    argmax_ids: np.ndarray  # int64 [targets], the lowest id where several are equally likely

    @property
    def log_likelihood(self) -> float:
        """The sum over the targets in nats, in float64."""
        return float(self.log_likelihoods.sum(dtype=np.float64))


def plan_batches(lengths: list[int], *, batch_tokens: int | None) -> list[list[int]]:
    """Positions of sequences grouped into batches, longest first.

    A batch's rows times its longest length stay within `batch_tokens`, except where a single sequence is longer.
    The plan depends on the lengths alone. `None` gives batches of one, in the order given.
    """
    if batch_tokens is None:
        return [[i] for i in range(len(lengths))]
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        longest = lengths[batches[-1][0]] if batches else 0
        if batches and (len(batches[-1]) + 1) * longest <= batch_tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


@torch.inference_mode()
def score(
    model: torch.nn.Module,
    sequences: list[Sequence],
    *,
    batch_tokens: int | None,
    pad_id: int,
    attachment: Labelled | None = None,
    progress: Progress | None = None,
) -> list[SequenceScore]:
    """Scores of the sequences, in their order.

    Args:
        model: a Hugging Face causal language model, in evaluation mode.
        sequences: what to feed and what to score.
        batch_tokens: most tokens of a batch, padding included; None runs one sequence at a time, as given.
        pad_id: fills rows on the right, masked.
        attachment: is given the sample and sequence of every row before its forward.
        progress: called after each batch.

    Raises:
        InputError: a log-likelihood is not a number.
    """
    scores: list[SequenceScore | None] = [None] * len(sequences)
    for batch in plan_batches([len(s.input_ids) for s in sequences], batch_tokens=batch_tokens):
        rows = [sequences[i] for i in batch]
        if attachment is not None:
            attachment.label(sample=[r.sample for r in rows], sequence=[r.sequence for r in rows])
        for i, result in zip(batch, _score_batch(model, rows, pad_id), strict=True):
            scores[i] = result
        if progress is not None:
            progress(len(batch))
    return scores


def _score_batch(model: Any, rows: list[Sequence], pad_id: int) -> list[SequenceScore]:
    input_ids, real, scored = (part.to(model.device) for part in pad_rows(rows, pad_id))
    logits = model(
        input_ids=input_ids,  # [rows, longest]
        attention_mask=real,
        use_cache=False,
        logits_to_keep=scored,  # the head sees scored positions only
    ).logits  # [targets of all rows, vocabulary]
    targets = torch.tensor([t for r in rows for t in r.target_ids], device=logits.device)
    likelihoods, argmax = (part.cpu().numpy() for part in _pick(logits, targets))
    ends = np.cumsum([len(r.target_ids) for r in rows])[:-1]
    found = [SequenceScore(*pair) for pair in zip(np.split(likelihoods, ends), np.split(argmax, ends))]
    for row, result in zip(rows, found):
        _refuse_nan(row, result)
    return found


def pad_rows(rows: list[Sequence], pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Input ids int64, mask of real tokens int64 and of scored positions bool, each [rows, longest]."""
    longest = max(len(row.input_ids) for row in rows)
    input_ids = torch.full((len(rows), longest), pad_id)
    real = torch.zeros_like(input_ids)
    scored = torch.zeros_like(input_ids, dtype=torch.bool)
    for i, row in enumerate(rows):
        end = len(row.input_ids)
        input_ids[i, :end] = torch.tensor(row.input_ids)
        real[i, :end] = 1
        scored[i, end - len(row.target_ids) : end] = True
    return input_ids, real, scored


def _pick(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-likelihood float32 and argmax int64 of each row of logits [targets, vocabulary]."""
    step = max(1, LOG_SOFTMAX_VALUES // logits.shape[-1])
    parts = [
        _pick_part(part, wanted) for part, wanted in zip(logits.split(step), targets.split(step), strict=True)
    ]
    likelihoods, argmax = zip(*parts)
    return torch.cat(likelihoods), torch.cat(argmax)


def _pick_part(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    normalised = logits.log_softmax(-1, dtype=torch.float32)
    return normalised.gather(-1, targets[:, None])[:, 0], lowest_argmax(normalised)


def lowest_argmax(values: Tensor) -> Tensor:
    """Index of the largest value of each row of [rows, values], int64 [rows], the lowest of equals, on any device."""
    return (values == values.amax(-1, keepdim=True)).to(torch.uint8).argmax(-1)


def _refuse_nan(row: Sequence, result: SequenceScore) -> None:
    if np.isnan(result.log_likelihoods).any():
        raise InputError(
            f"sample {row.sample}, sequence {row.sequence}: log-likelihoods are not numbers; "
            "check the model's weights, or run it in float32"
        )


def count_tokens(sequences: Iterable[Sequence]) -> int:
    """Input tokens, without padding."""
    return sum(len(sequence.input_ids) for sequence in sequences)
