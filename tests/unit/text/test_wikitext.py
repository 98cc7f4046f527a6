"""WikiText pages and their text as a reader would write it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from switchyard.text import wikitext
from switchyard.text.sources import Row, load_rows
from switchyard.text.tasks import prepare

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"

LINES = [
    "",
    " = First = \n",
    "",
    " Some text . \n",
    " = = Section = = \n",
    " More . \n",
    "",
    " = Second = \n",
    " End \n",
]


@pytest.mark.parametrize(
    ("line", "heading"),
    [
        (" = Title = \n", True),
        (" = A = B = \n", True),
        (" = = Section = = \n", False),
        (" = = = Subsection = = = \n", False),
        (" x = 3 \n", False),
        ("", False),
        (" = \n", False),
    ],
)
def test_only_headings_of_the_first_level_open_a_page(line: str, heading: bool) -> None:
    assert wikitext.is_page_heading(line) is heading


def test_pages_are_the_raw_file_cut_at_its_headings() -> None:
    pages = list(wikitext.join_pages(LINES))
    assert pages[0] == " = First = \n \n Some text . \n = = Section = = \n More . \n "
    assert pages[1] == " = Second = \n End \n"
    raw = "".join(line or " \n" for line in LINES)
    assert " \n" + "\n".join(pages) == raw


def test_lines_with_and_without_their_ends_give_the_same_pages() -> None:
    bare = [line.removesuffix("\n") for line in LINES]
    assert list(wikitext.join_pages(bare)) == list(wikitext.join_pages(LINES))


def test_rows_may_be_lines_or_pages_with_either_line_end() -> None:
    def tables(*texts: str) -> list[dict]:
        rows = [Row.of("set", number, {"text": text}) for number, text in enumerate(texts, 1)]
        return prepare(rows, kind="perplexity", layout="wikitext").to_pylist()

    lines = LINES[1:]
    expected = tables(*lines)
    raw = "".join(line or " \n" for line in lines)
    first, second = raw[: raw.index(" = Second")], raw[raw.index(" = Second") :]
    assert len(expected) == 2
    first = first.removesuffix("\n")  # as the harness cuts the raw file
    assert tables(first, second) == tables(raw) == expected
    assert tables(*(line.replace("\n", "\r\n") for line in lines)) == expected
    assert tables(first.replace("\n", "\r\n"), second) == expected
    pages = [Row.of("set", number, {"page": text}) for number, text in enumerate((first, second), 1)]
    assert prepare(pages, kind="perplexity", layout="wikitext").to_pylist() == expected


@pytest.mark.parametrize("column", ["text", "page"])
@pytest.mark.parametrize(
    "page",
    [
        " \n = Red Fox = \n \n It weighs 1 @,@ 200 grams . \n = = Range = = \n North . \n",
        ' = Red Fox = \n \n It is " quick " ( very ) . \n ',
        "\n\n = Red Fox = \n The end",
        " = Red Fox = \n \n \n\n",
    ],
)
def test_a_row_that_is_a_page_is_counted_as_the_harness_counts_it(page: str, column: str) -> None:
    """Blanks at its ends are among its bytes and words, and other pages beside it do not matter."""
    other = " = Hen = \n A bird . \n"
    given = [Row.of("set", number, {column: text}) for number, text in enumerate((page, other, page), 1)]
    found = prepare(given, kind="perplexity", layout="wikitext").to_pylist()
    assert [one["original_bytes"] for one in found] == [len(text) for text in (page, other, page)]
    assert [one["original_words"] for one in found] == [
        len(re.split(r"\s+", text)) for text in (page, other, page)
    ]
    assert [one["text"] for one in found] == [wikitext.detokenise(text) for text in (page, other, page)]


def test_a_null_line_is_blank() -> None:
    """What pandas makes of an empty cell."""
    tables = [
        prepare(
            [Row.of("set", n, {"text": text}) for n, text in enumerate((" = A = \n", blank, " b \n"), 1)],
            kind="perplexity",
            layout="wikitext",
        )
        for blank in (None, "")
    ]
    assert tables[0].equals(tables[1])


def test_text_before_the_first_heading_is_a_page() -> None:
    assert list(wikitext.join_pages([" Preface . \n", " = T = \n"])) == [" Preface . ", " = T = \n"]


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("a @-@ b 1 @,@ 000 2 @.@ 5", "a-b 1,000 2.5"),
        ("one , two ; three : four . five ! six ? seven", "one, two; three: four. five! six? seven"),
        ("( in brackets ) [ square ] { curly }", "(in brackets) [square] {curly}"),
        ('say " hello there " now', 'say "hello there" now'),
        ("the dogs ' bowls", "the dogs' bowls"),
        ("Robert 's play", "Robert's play"),
        ("20 ° C", "20°C"),
        (" = = Section = = \n Text", " == Section ==\nText"),
        ("= = = = deep", "==== deep"),
        ("with N items", "with 1 items"),
        ("first \n second", "first\nsecond"),
    ],
)
def test_detokenise(page: str, text: str) -> None:
    assert wikitext.detokenise(page) == text


def test_words_count_the_empty_pieces_at_the_ends() -> None:
    assert wikitext.count_words(" two words ") == 4
    assert wikitext.count_words("two words") == 2


def test_real_wikitext_has_its_published_size() -> None:
    path = SHARED / "wikitext-2-raw-v1_test.parquet"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in {path.parent}")
    table = prepare(load_rows({"source": "file", "path": path}), kind="perplexity", layout="wikitext")
    assert table.num_rows == 62
    between_pages_and_first_blank_line = 61 + 2
    assert sum(table["original_bytes"].to_pylist()) + between_pages_and_first_blank_line == 1_290_590
    assert table["text"][0].as_py().startswith(" = Robert Boulter =\n\nRobert Boulter is an English film,")
