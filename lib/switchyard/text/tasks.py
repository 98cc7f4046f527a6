"""Rows of a dataset turned into samples of one of four kinds, checked before any model is loaded.

A `layout` says what the columns of the source mean: `plain` is the prepared columns themselves, the others are the
published sets by name, preprocessed as lm-evaluation-harness 0.4.13 does.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, zip_longest
from typing import Any, NamedTuple

import pyarrow as pa

from switchyard.artifacts.files import stamped
from switchyard.errors import InputError
from switchyard.text import hellaswag, programs, wikitext
from switchyard.text.cells import REMEDY, read_cell, read_label, read_nested, read_text, read_texts
from switchyard.text.kinds import SCHEMAS
from switchyard.text.sources import Row

log = logging.getLogger(__name__)


class Skipped(NamedTuple):
    """A row that was left out, and why."""

    place: str
    reason: str


SKIP = ", or set `invalid_rows: skip`"
"""The remedy that datasets have beside `REMEDY`."""


def prepare(
    rows: Iterable[Row],
    *,
    kind: str,
    layout: str,
    samples: int | None = None,
    skipped: list[Skipped] | None = None,
) -> pa.Table:
    """The prepared table of a dataset.

    Args:
        rows: what `sources.load_rows` gave; no more are read than needed.
        kind: perplexity, cloze, choice or code.
        layout: a layout of that kind.
        samples: at most this many rows for all but perplexity; pages are all kept, as windows are cut later.
        skipped: where rows that cannot be used are listed; None refuses the first of them.

    Raises:
        InputError: unknown kind or layout, a missing column, or a value that cannot be used, and where.
    """
    convert = find_layout(kind, layout)
    rows = iter(rows)
    first = next(rows)
    rows = chain([first], rows)
    wanted = None if kind == "perplexity" else samples
    given = wikitext.pages_of(rows, "text", "page") if layout == "wikitext" else rows
    found = list(islice(_converted(given, convert, skipped), wanted))
    if not found:
        reason = f" ({skipped[0].place}: {skipped[0].reason})" if skipped else ""
        raise InputError(
            f"{first.source}: no {kind} sample in its rows{reason}; check the file and its layout"
        )
    if wanted is not None and len(found) < wanted:
        log.warning("%s: %d %s samples, %d were asked for", first.source, len(found), kind, wanted)
    number = "page" if kind == "perplexity" else "sample_id"
    numbered = [{"sample_id": i, number: i, **one} for i, one in enumerate(found)]
    table = pa.Table.from_pylist(numbered, schema=SCHEMAS[kind])
    return stamped(table, {"kind": kind, "layout": layout})


def find_layout(kind: str, layout: str) -> Convert:
    """The layout of that name, or an InputError that names the ones there are."""
    if kind not in LAYOUTS:
        raise InputError(f"dataset kind {kind!r} is unknown; use {', '.join(LAYOUTS)}")
    if layout not in LAYOUTS[kind]:
        raise InputError(f"layout {layout!r} is none of kind {kind}; use {', '.join(LAYOUTS[kind])}")
    return LAYOUTS[kind][layout]


def check_skipped(skipped: list[Skipped], used: int, most: float) -> None:
    """Raise InputError where more than a share `most` (0..1) of the rows that were read had to be left out."""
    share = len(skipped) / (len(skipped) + used)
    if share > most:
        place, reason = skipped[0]
        raise InputError(
            f"{len(skipped)} rows of {len(skipped) + used} cannot be used ({share:.1%}, max_invalid_share is "
            f"{most:.1%}); the first: {place}: {reason}; check kind and layout, or raise max_invalid_share"
        )


def skipped_table(skipped: list[Skipped]) -> pa.Table:
    """Columns `place, reason`, a row per row that was left out."""
    return pa.table(
        {name: pa.array([getattr(one, name) for one in skipped], pa.string()) for name in Skipped._fields}
    )


def _converted(
    rows: Iterable[Row], convert: Convert, skipped: list[Skipped] | None
) -> Iterator[dict[str, Any]]:
    for row in rows:
        try:
            yield convert(row)
        except InputError as error:
            if skipped is None:
                raise InputError(f"{error}{SKIP if str(error).endswith(REMEDY) else ''}") from error
            reason = re.sub(f"[;,]( or)? {REMEDY}$", "", str(error).removeprefix(row.place).lstrip(",: "))
            skipped.append(Skipped(row.place, reason))


def _page(text: str, original: str) -> dict[str, Any]:
    return {
        "text": text,
        "original_bytes": len(original.encode()),
        "original_words": wikitext.count_words(original),
    }


def _choice(row: Row, column: str, *, context: str, options: list[str], label: int) -> dict[str, Any]:
    if not all(option.strip() for option in options):
        raise InputError(f"{row.place}, column {column!r}: an option is empty; {REMEDY}")
    return {"context": context, "options": options, "characters": [len(o) for o in options], "label": label}


def _plain_page(row: Row) -> dict[str, Any]:
    text = read_text(row, "text")
    return _page(text, text)


def _wikitext_page(row: Row) -> dict[str, Any]:
    return _page(wikitext.detokenise(row.values["page"]), row.values["page"])


def _plain_cloze(row: Row) -> dict[str, Any]:
    return {"context": read_text(row, "context"), "target": read_text(row, "target")}


def _lambada(row: Row) -> dict[str, Any]:
    """The last word of a passage: what follows its last space, as in lm-evaluation-harness, a line end included."""
    context, _, target = read_text(row, "text").rpartition(" ")
    if not context.strip() or not target.strip():
        raise InputError(f"{row.place}, column 'text': no last word after a space; {REMEDY}")
    if target != target.rstrip():
        log.warning(
            "%s: the passage ends in a line end, which is scored with its last word, as lm-evaluation-harness does; "
            "take it away if it belongs to the file and not to the text",
            row.place,
        )
    return {"context": context, "target": target}


def _plain_choice(row: Row) -> dict[str, Any]:
    options = read_texts(row, "options")
    label = read_label(row, "label", options=len(options))
    return _choice(row, "options", context=read_text(row, "context"), options=options, label=label)


def _hellaswag(row: Row) -> dict[str, Any]:
    context = hellaswag.context(
        read_text(row, "activity_label"),
        read_text(row, "ctx_a"),
        read_text(row, "ctx_b", may_be_empty=True),
    )
    endings = read_texts(row, "endings")
    label = read_label(row, "label", options=len(endings))
    options = [hellaswag.clean(ending) for ending in endings]
    return _choice(row, "endings", context=context, options=options, label=label)


def _arc(row: Row) -> dict[str, Any]:
    """An item of ARC as the hub has it, or as AI2 publishes it in JSON (a `stem` and choices) and in CSV."""
    question = read_nested(row, "question")
    if isinstance(question, dict):
        question, choices = question.get("stem"), question.get("choices")
    elif "choices" in row.values:
        choices = read_nested(row, "choices")
    else:
        question, *parts = re.split(r"\s*\(([A-E1-5])\)\s*", str(question))
        choices = {"label": parts[::2], "text": parts[1::2]}
        names = "".join(parts[::2])
        if not ("ABCDE".startswith(names) or "12345".startswith(names)):
            raise InputError(
                f"{row.place}, column 'question': its marks ({', '.join(parts[::2])}) do not say which are the "
                f"options; {REMEDY}"
            )
    options, names = _arc_choices(row, choices)
    if not isinstance(question, str) or not question.strip():
        raise InputError(f"{row.place}, column 'question': no text; {REMEDY}")
    key = str(read_cell(row, "answerKey", "AnswerKey"))
    if key not in names:
        raise InputError(f"{row.place}, column 'answerKey': {key!r} is none of {', '.join(names)}; {REMEDY}")
    context = f"Question: {question}\nAnswer:"
    return _choice(row, "choices", context=context, options=options, label=names.index(key))


def _arc_choices(row: Row, choices: Any) -> tuple[list[str], list[str]]:
    """Texts and names (`A`..`E` or `1`..`5`) of the options, from a map of lists or a list of maps, without padding."""
    if isinstance(choices, dict):
        pairs = list(zip_longest(choices.get("text") or (), choices.get("label") or ()))
    else:
        listed = choices if isinstance(choices, list) else []
        pairs = [(one.get("text"), one.get("label")) for one in listed if isinstance(one, dict)]
    pairs = [(text, name) for text, name in pairs if text is not None]
    if len(pairs) < 2 or not all(isinstance(text, str) and name is not None for text, name in pairs):
        raise InputError(f"{row.place}, column 'choices': not two or more texts with their labels; {REMEDY}")
    texts, names = zip(*pairs, strict=True)
    return list(texts), list(map(str, names))


Convert = Callable[[Row], dict[str, Any]]
"""A row as a sample; an InputError says why it cannot be one."""

LAYOUTS: dict[str, dict[str, Convert]] = {
    "perplexity": {"plain": _plain_page, "wikitext": _wikitext_page},
    "cloze": {"plain": _plain_cloze, "lambada": _lambada},
    "choice": {"plain": _plain_choice, "hellaswag": _hellaswag, "arc": _arc},
    "code": {"humaneval": programs.humaneval, "mbpp": programs.mbpp},
}
"""Layouts by kind and name."""
