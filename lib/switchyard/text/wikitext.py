"""WikiText: lines joined into pages, and pages turned back into running text.

Both follow lm-evaluation-harness 0.4.13 (task `wikitext`, document-level pages), so that word perplexity, byte
perplexity and bits per byte compare with published numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

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


def join_pages(rows: Iterable[str]) -> Iterator[str]:
    r"""Pages of the raw file, byte for byte; a page begins at its heading.

    What stands before the first heading is a page of its own unless it is blank.

    Args:
        rows: lines or whole pages, with or without an end of line, `\n` or `\r\n`.
    """
    page: list[str] = []
    for line in (line for row in rows for line in split_lines(row)):
        line = line or _BLANK_LINE
        if is_page_heading(line):
            yield from _whole(page, end="")
            page = []
        page.append(line)
    yield from _whole(page, end="\n")


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
