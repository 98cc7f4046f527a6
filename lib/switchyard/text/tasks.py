"""Rows of a dataset turned into samples of one of three kinds, checked before any model is loaded.

A `layout` says what the columns of the source mean: `plain` is the prepared columns themselves, the others are the
published sets by name, preprocessed as lm-evaluation-harness 0.4.13 does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa

from switchyard.artifacts.files import stamped
from switchyard.errors import InputError
from switchyard.text import hellaswag, wikitext
from switchyard.text.cells import read_label, read_text, read_texts
from switchyard.text.kinds import SCHEMAS
from switchyard.text.sources import Rows

log = logging.getLogger(__name__)


class Layout(NamedTuple):
    """Which columns a source must have, and how its rows become samples."""

    columns: tuple[str, ...]
    convert: Callable[[Rows], Iterator[dict[str, Any]]]


def prepare(rows: Rows, *, kind: str, layout: str, samples: int | None = None) -> pa.Table:
    """The prepared table of a dataset.

    Args:
        rows: what `sources.load_rows` gave.
        kind: perplexity, cloze or choice.
        layout: a layout of that kind.
        samples: at most this many rows for cloze and choice; pages are all kept, as windows are cut later.

    Raises:
        InputError: unknown kind or layout, a missing column, or a value that cannot be used, and where.
    """
    plan = find_layout(kind, layout)
    missing = [column for column in plan.columns if column not in rows.columns]
    if missing:
        raise InputError(
            f"{rows.name}: no column {missing[0]!r}, which {kind} layout {layout!r} needs; "
            f"it has {', '.join(rows.columns)}"
        )
    wanted = None if kind == "perplexity" else samples
    found = [{"sample_id": i, **sample} for i, sample in enumerate(islice(plan.convert(rows), wanted))]
    _report(rows, kind, len(found), wanted)
    return stamped(pa.Table.from_pylist(found, schema=SCHEMAS[kind]), {"kind": kind, "layout": layout})


def find_layout(kind: str, layout: str) -> Layout:
    """The layout of that name, or an InputError that names the ones there are."""
    if kind not in LAYOUTS:
        raise InputError(f"dataset kind {kind!r} is unknown; use {', '.join(LAYOUTS)}")
    if layout not in LAYOUTS[kind]:
        raise InputError(f"layout {layout!r} is none of kind {kind}; use {', '.join(LAYOUTS[kind])}")
    return LAYOUTS[kind][layout]


def _report(rows: Rows, kind: str, found: int, wanted: int | None) -> None:
    if not found:
        raise InputError(f"{rows.name}: no {kind} sample in {len(rows)} rows; check the file and its layout")
    if wanted is not None and found < wanted:
        log.warning("%s: %d %s samples, %d were asked for", rows.name, found, kind, wanted)


def _page(number: int, *, text: str, original: str) -> dict[str, Any]:
    return {
        "text": text,
        "page": number,
        "original_bytes": len(original.encode()),
        "original_words": wikitext.count_words(original),
    }


def _choice(
    rows: Rows, index: int, column: str, *, context: str, options: list[str], label: int
) -> dict[str, Any]:
    if not all(option.strip() for option in options):
        raise InputError(
            f"{rows.place(index)}, column {column!r}: an option is empty; correct or drop the row"
        )
    return {"context": context, "options": options, "characters": [len(o) for o in options], "label": label}


def _plain_pages(rows: Rows) -> Iterator[dict[str, Any]]:
    for index in range(len(rows)):
        text = read_text(rows, index, "text")
        yield _page(index, text=text, original=text)


def _wikitext_pages(rows: Rows) -> Iterator[dict[str, Any]]:
    lines = [read_text(rows, index, "text", may_be_empty=True) for index in range(len(rows))]
    if not any(wikitext.is_page_heading(line) for line in lines):
        raise InputError(f"{rows.name}, column 'text': no line is a heading ' = Title = '; use layout plain")
    for number, page in enumerate(wikitext.join_pages(lines)):
        yield _page(number, text=wikitext.detokenise(page), original=page)


def _plain_cloze(rows: Rows) -> Iterator[dict[str, Any]]:
    for index in range(len(rows)):
        yield {"context": read_text(rows, index, "context"), "target": read_text(rows, index, "target")}


def _lambada(rows: Rows) -> Iterator[dict[str, Any]]:
    for index in range(len(rows)):
        context, _, target = read_text(rows, index, "text").rpartition(" ")
        if not context.strip() or not target.strip():
            raise InputError(
                f"{rows.place(index)}, column 'text': no last word after a space; correct or drop the row"
            )
        yield {"context": context, "target": target}


def _plain_choice(rows: Rows) -> Iterator[dict[str, Any]]:
    for index in range(len(rows)):
        options = read_texts(rows, index, "options")
        label = read_label(rows, index, "label", options=len(options))
        context = read_text(rows, index, "context")
        yield _choice(rows, index, "options", context=context, options=options, label=label)


def _hellaswag(rows: Rows) -> Iterator[dict[str, Any]]:
    for index in range(len(rows)):
        endings = read_texts(rows, index, "endings")
        context = hellaswag.context(
            read_text(rows, index, "activity_label"),
            read_text(rows, index, "ctx_a"),
            read_text(rows, index, "ctx_b", may_be_empty=True),
        )
        label = read_label(rows, index, "label", options=len(endings))
        options = [hellaswag.clean(ending) for ending in endings]
        yield _choice(rows, index, "endings", context=context, options=options, label=label)


def _arc(rows: Rows) -> Iterator[dict[str, Any]]:
    for index in range(len(rows)):
        options, names = _arc_choices(rows, index)
        key = read_text(rows, index, "answerKey")
        if key not in names:
            raise InputError(
                f"{rows.place(index)}, column 'answerKey': {key!r} is none of {', '.join(names)}"
            )
        context = f"Question: {read_text(rows, index, 'question')}\nAnswer:"
        yield _choice(rows, index, "choices", context=context, options=options, label=names.index(key))


def _arc_choices(rows: Rows, index: int) -> tuple[list[str], list[str]]:
    """Texts and names (`A`..`E` or `1`..`5`) of the options."""
    value = rows.records[index].get("choices")
    texts, names = (value.get("text"), value.get("label")) if isinstance(value, dict) else (None, None)
    whole = all(isinstance(v, list) and all(isinstance(item, str) for item in v) for v in (texts, names))
    if not whole or len(texts) < 2 or len(texts) != len(names):
        raise InputError(
            f"{rows.place(index)}, column 'choices': not two or more texts and labels; drop the row"
        )
    return texts, names


LAYOUTS: dict[str, dict[str, Layout]] = {
    "perplexity": {
        "plain": Layout(("text",), _plain_pages),
        "wikitext": Layout(("text",), _wikitext_pages),
    },
    "cloze": {
        "plain": Layout(("context", "target"), _plain_cloze),
        "lambada": Layout(("text",), _lambada),
    },
    "choice": {
        "plain": Layout(("context", "options", "label"), _plain_choice),
        "hellaswag": Layout(("activity_label", "ctx_a", "ctx_b", "endings", "label"), _hellaswag),
        "arc": Layout(("question", "choices", "answerKey"), _arc),
    },
}
"""Layouts by kind and name."""
