"""WikiText pages and their text as a reader would write it."""

from __future__ import annotations

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
    assert tables(first, second) == tables(raw) == expected
    assert tables(*(line.replace("\n", "\r\n") for line in lines)) == expected
    assert tables(first.replace("\n", "\r\n"), second) == expected
    pages = [Row.of("set", number, {"page": text}) for number, text in enumerate((first, second), 1)]
    assert prepare(pages, kind="perplexity", layout="wikitext").to_pylist() == expected


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
