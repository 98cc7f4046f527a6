"""The routing inspector: chosen samples token by token, with the experts that each token got, as one page."""

from __future__ import annotations

import base64
import html
import logging
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from switchyard.artifacts.files import VERIFIED, read_table, readable, write_text
from switchyard.errors import InputError
from switchyard.reporting.tables import STYLE
from switchyard.traces.reader import Trace, TraceSlice, as_slice

log = logging.getLogger(__name__)

DATA_FILES = ("inspector.html",)
"""Files read from beside this module; the code fingerprint counts them."""

LISTED = 16
"""Most experts listed for one token in one layer, the most probable; of the others the page gives the number."""

DIGITS = 3
"""Significant digits of weights and p-values: all that anybody reads off a page, at half the size."""

MOST_BYTES = 1_500_000
"""Of the page: a report holds it as a data URI, in base64, and Chromium shows none of more than 2 MiB."""

FEWEST_TOKENS = 8
"""Fewer tokens of a sequence are no text."""

PValues = Callable[[np.ndarray, int], np.ndarray]
"""Logits [tokens, E] and a layer -> p-values [tokens, E]."""

_SCORES = (
    "sample_id",
    "log_likelihood",
    "target_tokens",
    "characters",
    "predicted",
    "predicted_norm",
    "target",
    "correct",
    "loss",
    "loss_tokens",
)
_SHOWN = str.maketrans({" ": "·", "\n": "↵", "\r": "␍", "\t": "⇥"})
_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")


def collect(
    trace: str | Path,
    sample_ids: Sequence[int],
    tokenizer: Any,
    *,
    p_values: PValues | None,
    max_tokens: int,
) -> list[dict[str, Any]]:
    """The sequences of some samples of an experiment, JSON-ready, by sample as asked for, then by sequence.

    Args:
        trace: its trace, read one forward at a time and only where a sample asked for is in it.
        sample_ids: the samples.
        tokenizer: a Hugging Face tokenizer.
        p_values: of the experiment's rule; None for a rule that has none.
        max_tokens: of a longer sequence only the last so many tokens are given.

    Returns:
        `sample`, `sequence`, `length` (tokens fed), `first` (position of the first token given), `token_ids`,
        `tokens` (see `token_texts`) and `layers`. A layer has `count` and `rejections` (None for rules without
        tests) per token; `experts`, `weights` and `p_values` of the first `LISTED` chosen experts of each token,
        one token after the other; and `next_p`, each token's smallest p-value among experts that were not chosen
        (None where all were). `p_values` and `next_p` are None for rules and traces that give none. Weights and
        p-values are rounded to `DIGITS` significant digits.

    Raises:
        InputError: the trace lacks one of the samples.
    """
    order = {sample: place for place, sample in enumerate(sample_ids)}
    slices = sorted(
        _slices(trace, list(order)), key=lambda one: (order[int(one.sample_id[0])], one.sequence[0])
    )
    missing = order.keys() - {int(one.sample_id[0]) for one in slices}
    if missing:
        raise InputError(f"{trace}: has no sample {min(missing)}; inspect samples that were evaluated")
    p_values = Trace(trace).scores.as_rules_see(p_values)
    return [_sequence(one, tokenizer, p_values, max_tokens) for one in slices]


def _slices(trace: str | Path, sample_ids: list[int]) -> Iterator[TraceSlice]:
    """One slice per sequence of the samples, all layers."""
    Trace(trace)
    wanted = pa.array(sample_ids, pa.int32())
    with readable(trace), pq.ParquetFile(trace, **VERIFIED) as file:
        for group in range(file.num_row_groups):
            chosen = pc.is_in(file.read_row_group(group, columns=["sample_id"])["sample_id"], wanted)
            if pc.any(chosen).as_py():
                rows = file.read_row_group(group).filter(chosen)
                yield from as_slice(rows).split("sample_id", "sequence")


def _sequence(rows: TraceSlice, tokenizer: Any, p_values: PValues | None, max_tokens: int) -> dict[str, Any]:
    layers = list(rows.split("layer"))
    length = len(layers[0])
    first = max(0, length - max_tokens)
    layers = [layer.rows(first, length) for layer in layers]
    token_ids = layers[0].token_id.tolist()
    return {
        "sample": int(rows.sample_id[0]),
        "sequence": int(rows.sequence[0]),
        "length": length,
        "first": first,
        "token_ids": token_ids,
        "tokens": token_texts(tokenizer, token_ids),
        "layers": [_layer(layer, p_values) for layer in layers],
    }


def _layer(rows: TraceSlice, p_values: PValues | None) -> dict[str, Any]:
    """What the tokens of one sequence got in one layer."""
    count = rows.count.astype(np.int64)
    token = np.repeat(np.arange(len(rows)), count)  # of each chosen pair
    listed = np.arange(len(token)) - rows.offsets[token] < LISTED
    chosen_p = next_p = None
    if p_values is not None and rows.router_logits is not None:
        p = p_values(rows.router_logits.astype(np.float64), int(rows.layer[0]))  # [tokens, E]
        chosen_p = _rounded(p[token, rows.experts][listed])
        p = p.copy()
        p[token, rows.experts] = np.inf
        next_p = [None if np.isinf(value) else value for value in _rounded(p.min(axis=1))]
    return {
        "count": count.tolist(),
        "rejections": None if rows.rejections is None else rows.rejections.tolist(),
        "experts": rows.experts[listed].tolist(),
        "weights": _rounded(rows.weights[listed]),
        "p_values": chosen_p,
        "next_p": next_p,
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values.tolist()]


def token_texts(tokenizer: Any, token_ids: Sequence[int]) -> list[str]:
    """Each token as a reader can see it, and as no page can take harm from.

    Spaces, ends of lines and tabs become the signs `·`, `↵` and `⇥`; a part of a character that several tokens make
    up together becomes its bytes, `⟨E2 80⟩`; other characters without a shape, such as those that turn the direction
    of writing, become their code points, `⟨U+202E⟩`.
    """
    pieces = tokenizer.convert_ids_to_tokens(list(token_ids))
    return [_token_text(tokenizer, token, piece) for token, piece in zip(token_ids, pieces)]


def _token_text(tokenizer: Any, token: int, piece: str) -> str:
    text = tokenizer.decode([token], clean_up_tokenization_spaces=False) or piece
    if "\ufffd" in text:
        return _bytes_text(piece)
    if "▁" in piece:  # SentencePiece: decoding would drop a space that begins the text
        text = piece.replace("▁", " ")
    text = text.translate(_SHOWN)
    return "".join(f"⟨U+{ord(sign):04X}⟩" if _is_shapeless(sign) else sign for sign in text)


def _is_shapeless(character: str) -> bool:
    return unicodedata.category(character)[0] in "CZ"


def _bytes_text(piece: str) -> str:
    """The bytes behind a piece that is no whole character."""
    named = _BYTE_PIECE.fullmatch(piece)
    content = bytes.fromhex(named[1]) if named else bytes(_byte_signs().get(sign, 0x3F) for sign in piece)
    return f"⟨{content.hex(' ').upper()}⟩"


@cache
def _byte_signs() -> dict[str, int]:
    """The sign by which byte-level BPE (GPT-2) writes each byte: itself where it has a shape, else 256 and up."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}


def inspected(
    trace: str | Path,
    scores: str | Path,
    samples: int,
    tokenizer: Any,
    *,
    label: str,
    rule: Any,
    max_tokens: int,
) -> dict[str, Any]:
    """An experiment as `page` wants it: who it is, its limits, and its first `samples` samples with their scores.

    `label` names the configuration to readers; `rule`, its routing rule, is asked for p-values where it has them.
    """
    opened = Trace(trace)
    head, p_values = opened.stamp, getattr(rule, "p_values", None)
    scored = read_table(scores, columns=list(_SCORES)).slice(0, samples).to_pylist()
    sequences = collect(
        trace, [row["sample_id"] for row in scored], tokenizer, p_values=p_values, max_tokens=max_tokens
    )
    most = head["k_or_max_k"]
    return {
        "config": head["config"],
        "dataset": head["dataset"],
        "label": label,
        "limits": [head["min_k"], most],
        "absent_p": "rule" if p_values is None else None if opened.has_logits else "logits",
        "samples": [
            {**row, "sequences": [one for one in sequences if one["sample"] == row["sample_id"]]}
            for row in scored
        ],
    }


def page(experiments: Sequence[dict[str, Any]], *, title: str, stamp: dict | None = None) -> str:
    """The page that shows `experiments` (of `inspected`); everything it needs is in it.

    Raises InputError where two configurations of a dataset were not given the same tokens.
    """
    note = orjson.dumps(stamp or {}, option=orjson.OPT_SORT_KEYS).decode()
    parts = {
        "title": html.escape(title),
        "style": STYLE,
        "stamp": note.replace("<", "\\u003c"),  # so that no text ends the element or opens a comment
        "routing": base64.b64encode(zlib.compress(orjson.dumps(_payload(experiments)), 9)).decode(),
    }
    template = (files(__package__) / "inspector.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{ (\w+) \}\}", lambda place: parts[place[1]], template)


def write_inspector(
    path: str | Path,
    experiments: Callable[[int], Sequence[dict[str, Any]]],
    *,
    max_tokens: int,
    most_bytes: int = MOST_BYTES,
    **options: Any,
) -> None:
    """Write `page(experiments(max_tokens), **options)`, with fewer tokens of each sequence where it grew too large.

    Raises InputError where not even `FEWEST_TOKENS` tokens of each fit into `most_bytes`.
    """
    text = page(experiments(max_tokens), **options)
    while (size := len(text.encode())) > most_bytes:
        if max_tokens <= FEWEST_TOKENS:
            raise InputError(
                f"inspector: {size} bytes with {max_tokens} tokens of each sequence, a report shows {most_bytes}; "
                "inspect fewer samples or configurations"
            )
        max_tokens = max(FEWEST_TOKENS, max_tokens * 3 // 4)
        log.info("inspector: %d bytes are too many, trying %d tokens of each sequence", size, max_tokens)
        text = page(experiments(max_tokens), **options)
    write_text(path, text)


def _payload(experiments: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Texts once per dataset, labels once per configuration, and the routing by dataset and configuration."""
    texts: dict[str, list] = {}
    routing: dict[str, dict] = {}
    for one in experiments:
        text = [[_text(sequence) for sequence in sample["sequences"]] for sample in one["samples"]]
        if texts.setdefault(one["dataset"], text) != text:
            raise InputError(
                f"inspector: {one['config']} was given other tokens of {one['dataset']} than the configuration "
                "before it; evaluate both again"
            )
        routing.setdefault(one["dataset"], {})[one["config"]] = {
            "limits": one["limits"],
            "absent_p": one["absent_p"],
            "samples": [_routed(sample) for sample in one["samples"]],
        }
    labels = {one["config"]: one["label"] for one in experiments}
    return {"listed": LISTED, "digits": DIGITS, "labels": labels, "texts": texts, "routing": routing}


def _text(sequence: dict[str, Any]) -> dict[str, Any]:
    return {key: sequence[key] for key in ("sequence", "length", "first", "token_ids", "tokens")}


def _routed(sample: dict[str, Any]) -> dict[str, Any]:
    return {**sample, "sequences": [sequence["layers"] for sequence in sample["sequences"]]}
