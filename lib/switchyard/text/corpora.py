"""Corpora that routing is observed on: documents, each with a domain, on one of three sides by the hash of its text.

`offline` is for analysis and for whatever is built from it, such as routing tables; `tuning` for choosing between
settings; `final` for the figures that are published. The same text is on the same side whatever corpus it is in.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from switchyard.artifacts.files import PARQUET, VERIFIED, atomic, read_table, readable, stamped
from switchyard.errors import InputError
from switchyard.text import wikitext
from switchyard.text.cells import read_text
from switchyard.text.sources import Row, check_revision, read_file

log = logging.getLogger(__name__)

SIDE_SHARES = {"final": 0.1, "tuning": 0.1}
"""Shares by document hash; the rest is `offline`."""

POCKET_SIDES = {"train": "offline", "validation": "tuning", "test": "final"}
"""The pocket corpus has sides already, by the same kind of hash; its calibration text is for the nulls alone."""

NO_DOMAIN = "all"
"""Domain of documents that have none."""

SCHEMA = pa.schema({name: pa.string() for name in ("digest", "domain", "side", "text")})

FOLDS = 4
"""Parts of a corpus without domains."""

MOST_DOMAINS = 32

_ROWS = 1024


class Text(NamedTuple):
    """A document before it is put on a side."""

    text: str
    domain: str = NO_DOMAIN
    side: str | None = None
    """Where its source has put it already."""


def side_of(digest: str) -> str:
    """The side of a text with the hexadecimal SHA-256 `digest`."""
    point = int(digest[:12], 16) / 16**12
    for side, share in SIDE_SHARES.items():
        if point < share:
            return side
        point -= share
    return "offline"


def write_corpus(
    path: str | Path, texts: Iterable[Text], stamp: dict[str, Any] | None = None
) -> Counter[str]:
    """Write documents as they come, each text once; returns how many are on each side.

    Memory holds a few documents and the digest of every one.

    Raises:
        InputError: no document holds a word.
    """
    counts: Counter[str] = Counter()
    schema = stamped(SCHEMA.empty_table(), stamp).schema
    rows = _distinct(texts)
    with atomic(path) as partial, pq.ParquetWriter(partial, schema, **PARQUET) as writer:
        while some := list(islice(rows, _ROWS)):
            counts.update(row["side"] for row in some)
            writer.write_table(pa.Table.from_pylist(some, schema=schema))
        if not counts:
            raise InputError(f"{Path(path).stem}: no document holds a word; check the source and its columns")
    return counts


def _distinct(texts: Iterable[Text]) -> Iterator[dict[str, str]]:
    seen: set[bytes] = set()
    given = 0
    for one in texts:
        given += 1
        found = hashlib.sha256(one.text.encode())
        if one.text.strip() and found.digest() not in seen:
            seen.add(found.digest())
            digest = found.hexdigest()
            yield {
                "digest": digest,
                "domain": one.domain,
                "side": one.side or side_of(digest),
                "text": one.text,
            }
    if given > len(seen):
        log.warning("%d of %d documents left out: empty, or the same as one before", given - len(seen), given)


def read_texts(
    entry: Mapping[str, Any],
    *,
    files: Iterable[str | Path] = (),
    progress: Callable[[int], object] = lambda done: None,
) -> Iterator[Text]:
    """Documents of a corpus entry of the config, in the order of its source.

    Args:
        entry: `source` (pocket, file or hub), `num_samples` (None for all), and but for `pocket` `layout` (`plain`, a
            row is a document; `wikitext`, lines that are joined into pages), `text` (its column) and `domain` (a
            column, its parts after dots being keys of maps; None where there is none).
        files: the pocket corpus's table, or the files of `source: file`, one after the other.
        progress: called with 1 after each document.

    Raises:
        InputError: what cannot be read, where, and what to do about it.
    """
    if entry["source"] == "pocket":
        found = _pocket(*files)
    else:
        rows = (
            _of_hub(entry)
            if entry["source"] == "hub"
            else chain.from_iterable(map(read_file, map(Path, files)))
        )
        is_plain = entry["layout"] == "plain"
        found = _cells(rows, entry["text"], entry["domain"]) if is_plain else _pages(rows, entry["text"])
    for text in islice(found, entry["num_samples"]):
        yield text
        progress(1)


def _pocket(corpus: str | Path) -> Iterator[Text]:
    for row in _rows(corpus, ["name", "split", "text"]):
        if row["split"] in POCKET_SIDES:
            yield Text(row["text"], row["name"].split("/")[0], POCKET_SIDES[row["split"]])


def _rows(path: str | Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a Parquet file, a batch in memory at a time."""
    with readable(path), pq.ParquetFile(path, **VERIFIED) as file:
        for batch in file.iter_batches(columns=columns):
            yield from batch.to_pylist()


def _of_hub(entry: Mapping[str, Any]) -> Iterator[Row]:
    """Rows as they are downloaded: of a corpus of terabytes the first `num_samples` cost their own bytes only."""
    place = f"hub dataset {entry['repository']!r}"
    check_revision(entry["revision"], place=place)
    import datasets

    try:
        rows = datasets.load_dataset(
            entry["repository"],
            entry.get("subset"),
            split=entry["split"],
            revision=entry["revision"],
            streaming=True,
        )
        for number, row in enumerate(rows, 1):
            yield Row.of(place, number, row)
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(". ")
        raise InputError(
            f"{place}, split {entry['split']!r}, revision {entry['revision']}: cannot be read ({reason}); check the "
            "names, or download files of it and use `source: file`"
        ) from error


def _cells(rows: Iterable[Row], column: str, domain: str | None) -> Iterator[Text]:
    for row in rows:
        text = read_text(row, column, may_be_empty=True)
        yield Text(text, _domain(row, domain) if domain else NO_DOMAIN)


def _domain(row: Row, column: str) -> str:
    value: Any = row.values
    for key in column.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, str) or not value:
        raise InputError(
            f"{row.place}, column {column!r}: no name of a domain; correct `domain`, or leave it out"
        )
    return value


def _pages(rows: Iterable[Row], column: str) -> Iterator[Text]:
    """WikiText's lines or pages as running text, page by page."""
    for page in wikitext.pages_of(rows, column):
        yield Text(wikitext.detokenise(page.values["page"]))


def documents_of(path: str | Path, side: str | None) -> Iterator[tuple[str, str]]:
    """(domain, text) of the documents on one side of a written corpus, or on all (None), in its order.

    Where all have the same domain, its documents are dealt out by their digest to `FOLDS` parts that stand in for
    domains, so that what is counted on some can be compared with others.

    Raises:
        InputError: more domains than `MOST_DOMAINS`: counts are kept for each of them.
    """
    domains = set(read_table(path, ["domain"])["domain"].unique().to_pylist())
    if len(domains) > MOST_DOMAINS:
        raise InputError(
            f"{path}: {len(domains)} domains, {MOST_DOMAINS} at most; name a coarser column as the corpus's `domain`"
        )
    for row in _rows(path):
        if side in (None, row["side"]):
            fold = f"part {int(row['digest'][12:20], 16) % FOLDS + 1} of {FOLDS}"
            yield (row["domain"] if len(domains) > 1 else fold), row["text"]
