"""Router logits of the untouched model on a text: what null distributions are fitted on and checked with."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from switchyard.errors import InputError
from switchyard.evaluation.likelihood import score
from switchyard.evaluation.sequences import Sequence, all_sequences, build_samples, padding_token
from switchyard.routing.attachment import attach


def collect_router_logits(
    model: torch.nn.Module,
    tokenizer: Any,
    text: pa.Table,
    *,
    tokens: int,
    max_length: int,
    batch_tokens: int,
    progress: Callable[[int], object] | None = None,
) -> list[np.ndarray]:
    """Float32 logits [tokens, num_experts] of every layer, padding left out.

    Windows are taken in the order of the text until they hold `tokens` tokens; the last one is cut.

    Raises:
        InputError: the text holds fewer tokens.
    """
    sequences = _enough(text, tokenizer, tokens, max_length)
    parts: dict[int, list[np.ndarray]] = {}

    def keep(layer: int, logits: torch.Tensor, selection: Any, context: Any) -> None:
        parts.setdefault(layer, []).append(logits[context.is_token].float().cpu().numpy())

    with attach(model, None, observer=keep, own_when_full=False) as attachment:
        score(
            model,
            sequences,
            batch_tokens=batch_tokens,
            pad_id=padding_token(tokenizer),
            attachment=attachment,
            progress=progress,
        )
    return [np.concatenate(parts[layer])[:tokens] for layer in sorted(parts)]


def _enough(text: pa.Table, tokenizer: Any, tokens: int, max_length: int) -> list[Sequence]:
    """The first windows of a text that together hold `tokens` tokens; no more of it is tokenised than about twice."""
    windows = 2 * -(-tokens // max_length)
    while True:
        sequences = all_sequences(build_samples(text, tokenizer, max_length=max_length, samples=windows))
        totals = list(itertools.accumulate(len(sequence.input_ids) for sequence in sequences))
        if totals[-1] >= tokens:
            return sequences[: bisect.bisect_left(totals, tokens) + 1]
        if len(sequences) < windows:
            raise InputError(
                f"calibration: the text holds {totals[-1]} tokens of {tokens}; lower calibration.tokens"
            )
        windows *= 2
