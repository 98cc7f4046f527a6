"""Completions of prompts under the rule that is attached: batched, with a key-value cache, drawn by sample.

Each completion has a random generator of its own, seeded by (seed, problem, number of the completion), which gives
one uniform number a token. So a draw does not depend on what else is in the batch. Logits do in their last bits, as in
every evaluation here, and VAR's cache is shared by the rows of a forward.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from switchyard.errors import InputError
from switchyard.evaluation.likelihood import lowest_argmax, plan_batches
from switchyard.evaluation.sequences import encode, padding_token

log = logging.getLogger(__name__)


class Attached(Protocol):
    """What generation needs of an attachment: to name the rows of a forward, and to say which rows go on."""

    def label(self, *, sample: list[int], sequence: list[int]) -> None:
        """Name the rows of the next forward."""

    def select(self, cache: Any, rows: list[int]) -> None:
        """Keep these rows of a key-value cache, in this order."""


class Settings(NamedTuple):
    """How completions are drawn."""

    samples_per_problem: int
    """Drawn completions of a problem, beside the greedy one; 0 for that alone."""
    temperature: float
    """Of the drawn ones, above 0."""
    top_p: float
    """They come from the fewest tokens that hold this share of the probability."""
    max_new_tokens: int
    seed: int


class Completion(NamedTuple):
    """What a model wrote."""

    sample_id: int
    number: int
    """0 is the greedy one."""
    text: str
    tokens: int
    """Written, with those of the stop sequence."""
    ended: str
    """`stop`, `end of text` or `length`."""


@dataclass
class _Row:
    """A completion that is being written."""

    sample_id: int
    number: int
    prompt: list[int]
    before: str  # the prompt as its tokens read
    stop: Sequence[str]
    temperature: float
    random: np.random.Generator
    written: list[int] = field(default_factory=list)
    text: str = ""
    ended: str = ""


def generate(
    model: Any,
    tokenizer: Any,
    attachment: Attached,
    problems: Sequence[dict[str, Any]],
    settings: Settings,
    *,
    max_length: int,
    batch_tokens: int | None,
    progress: Callable[[int], object] | None = None,
) -> list[Completion]:
    """Completions of every problem: the greedy one, then the drawn ones.

    Args:
        model: a Hugging Face causal language model in evaluation mode.
        tokenizer: its tokenizer.
        attachment: what `attach` gave for the model.
        problems: rows of a prepared table of kind code.
        settings: how they are drawn.
        max_length: most tokens of a prompt and its completion; a longer prompt loses its beginning.
        batch_tokens: most tokens of a batch, prompts and completions; None for one completion at a time.
        progress: called with the number of completions done.

    Raises:
        InputError: `max_length` leaves no room for a prompt, or logits are not numbers.
    """
    rows = _rows(tokenizer, problems, settings, max_length - settings.max_new_tokens)
    lengths = [len(row.prompt) + settings.max_new_tokens for row in rows]
    ends = _end_tokens(model, tokenizer)
    for batch in plan_batches(lengths, batch_tokens=batch_tokens):
        _write(model, tokenizer, attachment, [rows[place] for place in batch], settings, ends)
        if progress is not None:
            progress(len(batch))
    return [Completion(row.sample_id, row.number, row.text, len(row.written), row.ended) for row in rows]


def _rows(tokenizer: Any, problems: Sequence[dict[str, Any]], settings: Settings, room: int) -> list[_Row]:
    if room < 1:
        raise InputError(
            f"code: max_new_tokens {settings.max_new_tokens} leaves no room for a prompt; raise max_length above it"
        )
    rows = []
    for one in problems:
        prompt = encode(tokenizer, one["prompt"])
        if len(prompt) > room:
            log.warning(
                "%s: the prompt has %d tokens, its last %d are used", one["task_id"], len(prompt), room
            )
        prompt = prompt[-room:]
        for number in range(1 + settings.samples_per_problem):
            rows.append(
                _Row(
                    one["sample_id"],
                    number,
                    prompt,
                    _read(tokenizer, prompt),
                    one["stop"],
                    settings.temperature if number else 0.0,
                    np.random.default_rng([settings.seed, one["sample_id"], number]),
                )
            )
    return rows


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Tokens that end a text."""
    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = own if isinstance(own, list) else [own]
    return {token for token in (*listed, tokenizer.eos_token_id) if token is not None}


@torch.inference_mode()
def _write(
    model: Any, tokenizer: Any, attachment: Attached, rows: list[_Row], settings: Settings, ends: set[int]
) -> None:
    """Write the completions of a batch; rows that have ended leave it."""
    given, real = (part.to(model.device) for part in _padded(rows, padding_token(tokenizer)))
    cache = None
    while rows:
        attachment.label(sample=[row.sample_id for row in rows], sequence=[row.number for row in rows])
        answer = model(
            input_ids=given,  # [rows, longest], then [rows, 1]
            attention_mask=real,  # [rows, tokens so far]
            position_ids=(real.cumsum(-1) - 1).clamp(min=0)[:, -given.shape[1] :],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        chosen = choose(answer.logits[:, -1], rows, settings.top_p)  # [rows]
        for row, token in zip(rows, chosen.tolist(), strict=True):
            _take(row, token, tokenizer, settings.max_new_tokens, ends)
        going = [place for place, row in enumerate(rows) if not row.ended]
        cache = answer.past_key_values
        if going and len(going) < len(rows):
            cache.batch_select_indices(torch.tensor(going, device=model.device))
            attachment.select(cache, going)
        rows = [rows[place] for place in going]
        given, real = chosen[going, None], torch.nn.functional.pad(real[going], (0, 1), value=1)


def _padded(rows: list[_Row], pad_id: int) -> tuple[Tensor, Tensor]:
    """Prompts, filled on the left, and which tokens are real: int64 [rows, longest]."""
    longest = max(len(row.prompt) for row in rows)
    ids, real = torch.full((len(rows), longest), pad_id), torch.zeros((len(rows), longest), dtype=torch.int64)
    for place, row in enumerate(rows):
        ids[place, longest - len(row.prompt) :] = torch.tensor(row.prompt)
        real[place, longest - len(row.prompt) :] = 1
    return ids, real


def choose(logits: Tensor, rows: Sequence[Any], top_p: float) -> Tensor:
    """The next token of each row, int64 [rows], from logits [rows, vocabulary].

    At temperature 0 the most probable, the lowest id of equals. Otherwise tokens are put in order of probability, and
    the row's next uniform number is looked up in their sum, up to the share `top_p`.

    Raises:
        InputError: logits are NaN.
    """
    if logits.isnan().any():
        raise InputError("code: logits are NaN; check the model's weights, or run it in float32")
    greedy = lowest_argmax(logits)
    if not any(row.temperature for row in rows):
        return greedy
    heat = torch.tensor([row.temperature or 1.0 for row in rows], dtype=torch.float64, device=logits.device)
    uniform = torch.tensor([row.random.random() for row in rows], dtype=torch.float64, device=logits.device)
    ordered, ids = torch.sort(logits.double() / heat[:, None], dim=-1, descending=True, stable=True)
    summed = ordered.softmax(-1).cumsum(-1)  # [rows, vocabulary]
    last = (summed < top_p).sum(-1, keepdim=True).clamp(max=summed.shape[-1] - 1)  # the last that is kept
    aim = uniform[:, None] * summed.gather(1, last)
    place = torch.searchsorted(summed, aim, right=True).minimum(last)
    drawn = ids.gather(1, place)[:, 0]
    is_greedy = torch.tensor([not row.temperature for row in rows], device=logits.device)
    return torch.where(is_greedy, greedy, drawn)


def _take(row: _Row, token: int, tokenizer: Any, most: int, ends: set[int]) -> None:
    """Add a token to a completion, and end it if that was its last."""
    row.written.append(token)
    if token in ends:
        row.ended = "end of text"
        return
    row.text = _read(tokenizer, row.prompt + row.written)[len(row.before) :]
    cuts = [place for stop in row.stop if (place := row.text.find(stop)) >= 0]
    if cuts:
        row.text, row.ended = row.text[: min(cuts)], "stop"
    elif len(row.written) == most:
        row.ended = "length"


def _read(tokenizer: Any, ids: list[int]) -> str:
    """Text of tokens. A completion is read after its prompt: alone, some tokenizers drop its first blank."""
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
