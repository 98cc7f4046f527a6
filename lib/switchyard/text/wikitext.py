"""WikiText: lines joined into pages, and pages turned back into running text.

Both follow lm-evaluation-harness 0.4.13 (task `wikitext`, document-level pages), so that word perplexity, byte
perplexity and bits per byte compare with published numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from switchyard.errors import InputError
from switchyard.text.cells import REMEDY, read_text
from switchyard.text.sources import Row

_SPELLINGS: tuple[tuple[str, str], ...] = (
    ("s '", "s'"),
    (" @-@ ", "-"),
    (" @,@ ", ","),
    (" @.@ ", "."),
    *((f" {mark} ", f"{mark} ") for mark in ":;.!?,"),
)
"""Tokenised spelling -> running text, in this order. The first is a plural's apostrophe."""

_ENCLOSURES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\(\s*([^\)]*?)\s*\)"), r"(\1)"),
    (re.compile(r"\[\s*([^\]]*?)\s*\]"), r"[\1]"),
    (re.compile(r"{\s*([^}]*?)\s*}"), r"{\1}"),
    (re.compile(r'"\s*([^"]*?)\s*"'), r'"\1"'),
    (re.compile(r"'\s*([^']*?)\s*'"), r"'\1'"),
)
"""Pairs that lose the blanks inside them."""

_REMAINDERS: tuple[tuple[str, str], ...] = (
    ("= = = =", "===="),
    ("= = =", "==="),
    ("= =", "=="),
    (" ° ", "°"),
    (" \n", "\n"),
    ("\n ", "\n"),
    (" N ", " 1 "),
    (" 's", "'s"),
)
"""What is replaced last: heading rulers, degrees, blanks at line ends, numbers written N, possessives."""

_BLANK_LINE = " "
"""An empty line of the raw files; line datasets hand it over as an empty string."""


def is_page_heading(line: str) -> bool:
    """Whether a line is ` = Title = `; ` = = Section = = ` is not."""
    heading = line.replace("= = =", "===").replace("= =", "==").strip()
    return heading.startswith("= ") and heading.endswith(" =")


def split_lines(row: str) -> list[str]:
    """Lines of a row, a line or a whole page, without their ends."""
    return row.replace("\r\n", "\n").removesuffix("\n").split("\n")


def is_whole_page(row: str) -> bool:
    """Whether a row is one page, as in the harness's own data set, and not a line or several pages."""
    lines = split_lines(row)
    headings = [number for number, line in enumerate(lines) if is_page_heading(line)]
    return len(lines) > 1 and len(headings) == 1 and not "".join(lines[: headings[0]]).strip()


def join_pages(rows: Iterable[str]) -> Iterator[str]:
    r"""Pages of the raw file, byte for byte; a page begins at its heading.

    A row that is a whole page is that page with every blank at its ends, as the harness counts it. What stands before
    the first heading is a page of its own unless it is blank.

    Args:
        rows: lines or pages, with or without an end of line, `\n` or `\r\n`.
    """
    page: list[str] = []
    for row in rows:
        is_page = is_whole_page(row)
        for line in [] if is_page else split_lines(row):
            line = line or _BLANK_LINE
            if is_page_heading(line):
                yield from _whole(page, end="")
                page = []
            page.append(line)
        if is_page:
            yield from _whole(page, end="")
            page = []
            yield row.replace("\r\n", "\n")
    yield from _whole(page, end="\n")


def pages_of(rows: Iterable[Row], *columns: str) -> Iterator[Row]:
    """Pages of WikiText as rows with the column `page`.

    Args:
        rows: lines or pages.
        columns: the text is in the first of these that a row has.

    Raises:
        InputError: a row without text, or no row that is a heading.
    """
    source, has_heading = "", False

    def texts() -> Iterator[str]:
        nonlocal source, has_heading
        for row in rows:
            source = source or row.source
            text = _text(row, columns)
            has_heading = has_heading or any(map(is_page_heading, split_lines(text)))
            yield text

    for number, page in enumerate(join_pages(texts()), 1):
        if not has_heading:
            break
        yield Row.of(f"{source}, pages", number, {"page": page})
    if not has_heading:
        raise InputError(
            f"{source}, column {columns[0]!r}: no line is a heading ' = Title = ', which begins a page of WikiText; "
            "use layout plain for other text, and keep the headings of WikiText"
        )


def _text(row: Row, columns: tuple[str, ...]) -> str:
    try:
        return read_text(row, *columns, may_be_empty=True)
    except InputError as error:
        if not str(error).endswith(REMEDY):
            raise
        reason = str(error).removesuffix(REMEDY)
        raise InputError(
            f"{reason}correct the row: a page without one of its lines has another score"
        ) from error


def _whole(page: list[str], end: str) -> Iterator[str]:
    text = "\n".join(page)
    if text.strip():
        yield text + end


def detokenise(page: str) -> str:
    """The page as a reader would write it: no blanks before punctuation, inside brackets or around rulers."""
    for old, new in _SPELLINGS:
        page = page.replace(old, new)
    for pattern, new in _ENCLOSURES:
        page = pattern.sub(new, page)
    for old, new in _REMAINDERS:
        page = page.replace(old, new)
    return page


def count_words(text: str) -> int:
    r"""Pieces between runs of white space, `len(re.split(r"\s+", text))`, an empty piece at either end included."""
    return len(re.split(r"\s+", text))
