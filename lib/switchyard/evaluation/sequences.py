"""Prepared samples turned into token sequences, as lm-evaluation-harness 0.4.13 does for causal models.

The model is fed `input_ids`, which is everything but the last token; the tokens that are scored, `target_ids`, are
predicted by its last `len(target_ids)` positions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from switchyard.errors import InputError
from switchyard.text.kinds import kind_of

log = logging.getLogger(__name__)

PREVIEW_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Sequence:
    """One forward's row: what is fed and what is scored."""

    sample: int
    sequence: int  # number of the option for choice, else 0
    input_ids: list[int]
    target_ids: list[int]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one row of the scores is about."""

    sample_id: int
    sequences: list[Sequence]
    preview: str  # its first characters
    bytes: int | None = None  # text only: its share of the original page
    words: int | None = None
    characters: list[int] | None = None  # choice only, per option
    label: int | None = None


def build_samples(
    table: pa.Table, tokenizer: Any, *, max_length: int, samples: int | None = None
) -> list[Sample]:
    """The first `samples` samples of a prepared table.

    Args:
        table: of kind perplexity, cloze or choice (`text.kinds`).
        tokenizer: a Hugging Face tokenizer.
        max_length: most tokens that are fed in one sequence; longer contexts lose their beginning.
        samples: how many at most; for perplexity a sample is a window of a page.

    Raises:
        InputError: a sample without a token to score, or with more than `max_length` of them.
    """
    if max_length < 1:
        raise InputError(f"max_length {max_length} leaves no token; give at least 1")
    build = {"perplexity": _windows, "cloze": _clozes, "choice": _choices}[kind_of(table)]
    found = list(islice(build(table, tokenizer, max_length), samples))
    if not found:
        raise InputError(
            f"the dataset's {table.num_rows} rows hold no token of this tokenizer; choose texts that it was made for"
        )
    if samples is not None and len(found) < samples:
        log.warning("%d samples, %d were asked for", len(found), samples)
    return found


def all_sequences(samples: list[Sample]) -> list[Sequence]:
    """The sequences of all samples, in order."""
    return [sequence for sample in samples for sequence in sample.sequences]


def prefix_token(tokenizer: Any) -> int:
    """What stands before a text that has no context: beginning of text, or else end of text.

    Raises:
        InputError: the tokenizer has neither.
    """
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return token
    raise InputError("the tokenizer has neither a bos nor an eos token; set one in tokenizer_config.json")


def padding_token(tokenizer: Any) -> int:
    """A token to fill rows with; masked, so that any valid one will do."""
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else prefix_token(tokenizer)


def encode(tokenizer: Any, text: str) -> list[int]:
    """Tokens of a text with the special tokens its tokenizer adds, unless the text opens with them."""
    if text.startswith(tokenizer.decode([prefix_token(tokenizer)])):
        return tokenizer.encode(text, add_special_tokens=False, verbose=False)
    return tokenizer.encode(text, verbose=False)


def encode_pair(tokenizer: Any, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Tokens of a context and of what follows it; blanks that end the context go with the continuation.

    The whole is encoded and cut where the context's own encoding ends, so that a word boundary is where it would
    be in running text.
    """
    if not context:
        return _unconditional(tokenizer, continuation)
    bare = context.rstrip()
    continuation = context[len(bare) :] + continuation
    whole = encode(tokenizer, bare + continuation)
    own = encode(tokenizer, bare)
    return own, whole[len(own) :]


def _unconditional(tokenizer: Any, continuation: str) -> tuple[list[int], list[int]]:
    tokens = tokenizer.encode(continuation, add_special_tokens=False, verbose=False)
    prefix = prefix_token(tokenizer)
    return ([prefix], tokens) if tokens[:1] != [prefix] else (tokens[:1], tokens[1:])


def cut_windows(tokens: list[int], *, prefix: int, max_length: int) -> Iterator[tuple[list[int], list[int]]]:
    """Windows (input_ids, target_ids) in which every token is scored exactly once.

    The first is conditioned on the prefix token, each later one on the token before it; the last reaches back to
    fill `max_length`.
    """
    with_prefix = [prefix, *tokens]
    for start in range(0, len(tokens), max_length):
        end = min(start + max_length, len(tokens))
        first = 0 if start == 0 else end - max_length
        yield with_prefix[first:end], tokens[start:end]


def apportion(total: int, shares: list[int]) -> list[int]:
    """`total` in whole parts proportional to `shares`, which sum to it exactly."""
    whole, parts, seen, given = sum(shares), [], 0, 0
    for share in shares:
        seen += share
        upto = (2 * total * seen + whole) // (2 * whole)  # rounded half up, in integers
        parts.append(upto - given)
        given = upto
    return parts


def _windows(table: pa.Table, tokenizer: Any, max_length: int) -> Iterator[Sample]:
    prefix, sample_id = prefix_token(tokenizer), 0
    for row in _rows(table):
        windows = list(cut_windows(encode(tokenizer, row["text"]), prefix=prefix, max_length=max_length))
        lengths = [len(targets) for _, targets in windows]
        parts = zip(apportion(row["original_bytes"], lengths), apportion(row["original_words"], lengths))
        for (inputs, targets), (size, words) in zip(windows, parts):
            sequence = Sequence(sample_id, 0, inputs, targets)
            preview = tokenizer.decode(targets)[:PREVIEW_CHARACTERS]
            yield Sample(sample_id, [sequence], preview, bytes=size, words=words)
            sample_id += 1


def _clozes(table: pa.Table, tokenizer: Any, max_length: int) -> Iterator[Sample]:
    for row in _rows(table):
        name, context, target = row["sample_id"], row["context"], f" {row['target']}"
        sequence = _continuation(tokenizer, context, target, name, 0, max_length)
        yield Sample(name, [sequence], f"{context}{target}"[:PREVIEW_CHARACTERS])


def _choices(table: pa.Table, tokenizer: Any, max_length: int) -> Iterator[Sample]:
    for row in _rows(table):
        name, context = row["sample_id"], row["context"]
        sequences = [
            _continuation(tokenizer, context, f" {option}", name, number, max_length)
            for number, option in enumerate(row["options"])
        ]
        preview = context[:PREVIEW_CHARACTERS]
        yield Sample(name, sequences, preview, characters=row["characters"], label=row["label"])


_WITHOUT_ROW = (
    "leave the sample out: take its row out of a copy of the prepared table (prepare/datasets/) and give that copy as "
    "`source: file`, `layout: plain`"
)


def _continuation(
    tokenizer: Any, context: str, continuation: str, sample: int, sequence: int, max_length: int
) -> Sequence:
    own, targets = encode_pair(tokenizer, context, continuation)
    place = f"sample {sample} ({context[-40:]!r}), continuation {sequence} ({continuation[:40]!r})"
    if not own:
        raise InputError(f"{place}: the context has no token; {_WITHOUT_ROW}")
    if not targets:
        raise InputError(
            f"{place}: the continuation has no token of its own, since one token of this tokenizer spans its beginning "
            f"and the end of the context; {_WITHOUT_ROW}"
        )
    if len(targets) > max_length:
        raise InputError(
            f"{place}: {len(targets)} tokens to score, max_length is {max_length}; raise max_length, or {_WITHOUT_ROW}"
        )
    return Sequence(sample, sequence, (own + targets)[-(max_length + 1) : -1], targets)


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=1024):
        yield from batch.to_pylist()
