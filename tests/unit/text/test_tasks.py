"""Rows turned into samples, and one clear line for every value that cannot be used."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from switchyard.artifacts.files import read_stamp, write_table
from switchyard.errors import InputError
from switchyard.text.kinds import SCHEMAS, kind_of
from switchyard.text.sources import Row, load_rows
from switchyard.text.tasks import LAYOUTS, Skipped, check_skipped, prepare

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"

HELLASWAG = {
    "activity_label": "Pole vault",
    "ctx_a": "A sport.",
    "ctx_b": "a few women",
    "endings": ["run.", "swim [step] far.", "sit.", "read."],
    "label": "1",
}
ARC = {
    "question": "What is wet?",
    "choices": {"text": ["sand", "water", "stone"], "label": ["1", "2", "3"]},
    "answerKey": "2",
}
CHOICE = {"context": "It rains", "options": ["water", "sand"], "label": 0}


def rows(*records: dict[str, Any]) -> list[Row]:
    return [Row.of("set.jsonl", number, record) for number, record in enumerate(records, 1)]


def refused(kind: str, layout: str, *records: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        prepare(rows(*records), kind=kind, layout=layout)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_hellaswag_gives_a_context_and_clean_endings() -> None:
    table = prepare(rows(HELLASWAG), kind="choice", layout="hellaswag")
    assert table.to_pylist() == [
        {
            "sample_id": 0,
            "context": "Pole vault: A sport. A few women",
            "options": ["run.", "swim far.", "sit.", "read."],
            "characters": [4, 9, 4, 5],
            "label": 1,
        }
    ]


def test_arc_labels_may_be_letters_or_numbers() -> None:
    sample = prepare(rows(ARC), kind="choice", layout="arc").to_pylist()[0]
    assert sample["context"] == "Question: What is wet?\nAnswer:"
    assert (sample["options"], sample["label"]) == (["sand", "water", "stone"], 1)


def test_arc_items_may_have_three_to_five_choices_named_by_letters_or_numbers() -> None:
    texts = ["sand", "water", "stone", "wood", "größer"]
    asked = [("ABC", "C", 2), ("1234", "4", 3), ("ABCDE", "E", 4), ("1234", "1", 0), ("12345", "5", 4)]
    records = [
        ARC | {"choices": {"text": texts[: len(names)], "label": list(names)}, "answerKey": key}
        for names, key, _ in asked
    ]
    samples = prepare(rows(*records), kind="choice", layout="arc").to_pylist()
    assert [sample["label"] for sample in samples] == [label for _, _, label in asked]
    assert [sample["options"] for sample in samples] == [texts[: len(names)] for names, _, _ in asked]
    assert [sample["characters"] for sample in samples] == [[4, 5, 5, 4, 6][: len(n)] for n, _, _ in asked]


ARC_PUBLISHED = {
    "the hub's, padded": ARC
    | {"choices": {"text": ["sand", "water", "stone", None], "label": ["1", "2", "3", "4"]}},
    "AI2's JSON": {
        "question": {
            "stem": "What is wet?",
            "choices": [
                {"text": "sand", "label": "A"},
                {"text": "water", "label": "B"},
                {"text": "stone", "label": "C"},
            ],
        },
        "answerKey": "B",
    },
    "AI2's CSV": {"question": "What is wet? (A) sand (B) water (C) stone", "AnswerKey": "B"},
    "the hub's as CSV": {
        "question": "What is wet?",
        "choices": "{'text': ['sand', 'water', 'stone'], 'label': ['A', 'B', 'C']}",
        "answerKey": "B",
    },
    "a list of choices": {
        "question": "What is wet?",
        "choices": [{"text": t, "label": n} for t, n in zip(("sand", "water", "stone"), "123", strict=True)],
        "answerKey": 2,
    },
}


@pytest.mark.parametrize("form", ARC_PUBLISHED)
def test_every_published_form_of_arc_is_the_same_item(form: str) -> None:
    table = prepare(rows(ARC_PUBLISHED[form]), kind="choice", layout="arc")
    assert table.equals(prepare(rows(ARC), kind="choice", layout="arc"))


@pytest.mark.parametrize("label", ["1", 1, 1.0, "1.0", " 1 "])
@pytest.mark.parametrize("write", [lambda texts: texts, json.dumps, repr])
def test_every_published_form_of_hellaswag_is_the_same_item(label: Any, write: Any) -> None:
    record = HELLASWAG | {"label": label, "endings": write(HELLASWAG["endings"])}
    table = prepare(rows(record), kind="choice", layout="hellaswag")
    assert table.equals(prepare(rows(HELLASWAG), kind="choice", layout="hellaswag"))


def test_a_line_end_after_the_last_word_is_scored_with_it_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        table = prepare(
            rows({"text": "he said to the man\n"}, {"text": "a b"}), kind="cloze", layout="lambada"
        )
    assert table["target"].to_pylist() == ["man\n", "b"]
    (line,) = [one.getMessage() for one in caplog.records]
    assert line.startswith("set.jsonl, row 1: the passage ends in a line end")


@pytest.mark.parametrize(
    "write", [lambda texts: str(np.array(texts, object)), lambda texts: repr(np.array(texts, object))]
)
def test_lists_that_pandas_writes_to_csv_are_read(write: Any) -> None:
    endings = ["it's [1] a, b", 'say "x" \\ ', "c" * 90, "dtype=object"]
    plain = HELLASWAG | {"endings": endings}
    written = HELLASWAG | {"endings": write(endings).removeprefix("array(").removesuffix(", dtype=object)")}
    assert prepare(rows(written), kind="choice", layout="hellaswag").equals(
        prepare(rows(plain), kind="choice", layout="hellaswag")
    )


@pytest.mark.parametrize("layout", ["arc", "hellaswag"])
def test_a_set_that_datasets_wrote_to_csv_is_the_same_set(tmp_path: Path, layout: str) -> None:
    record = {"arc": ARC, "hellaswag": HELLASWAG}[layout]
    pd.DataFrame(pa.Table.from_pylist([record]).to_pandas()).to_csv(tmp_path / "a.csv")
    found = load_rows({"source": "file", "path": tmp_path / "a.csv"})
    assert prepare(found, kind="choice", layout=layout).equals(
        prepare(rows(record), kind="choice", layout=layout)
    )


def test_no_second_part_of_a_context_may_be_null() -> None:
    tables = [prepare(rows(HELLASWAG | {"ctx_b": b}), kind="choice", layout="hellaswag") for b in (None, "")]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_a_row_that_cannot_be_read_may_be_skipped(tmp_path: Path, suffix: str) -> None:
    lone = b'{"text": "a \\ud83d b"}'  # half of a pair of surrogates, which no UTF-8 can hold
    content = {
        ".jsonl": b'{"text": "a b"}\n' + lone + b'\n{"text": \n{"text": "c d"}\n',
        ".json": b'[{"text": "a b"}, ' + lone + b', ["x"], {"text": "c d"}]',
        ".csv": b"text,n\na b,1\nx\nx,1,2\nc d,2\n",
    }[suffix]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    skipped: list[Skipped] = []
    table = prepare(
        load_rows({"source": "file", "path": path}), kind="cloze", layout="lambada", skipped=skipped
    )
    assert table["target"].to_pylist() == ["b", "d"]
    assert [one.place.rsplit(maxsplit=1)[1] for one in skipped] == ["2", "3"]
    with pytest.raises(InputError, match=r"a\.\w+, (row|line) 2: .*set `invalid_rows: skip`"):
        prepare(load_rows({"source": "file", "path": path}), kind="cloze", layout="lambada")


def test_rows_that_cannot_be_used_are_listed_with_their_reason() -> None:
    given = rows(CHOICE, CHOICE | {"label": 7}, CHOICE, CHOICE | {"options": ["x", ""]}, CHOICE)
    skipped: list[Skipped] = []
    table = prepare(given, kind="choice", layout="plain", samples=3, skipped=skipped)
    assert table["sample_id"].to_pylist() == [0, 1, 2]
    assert skipped == [
        Skipped("set.jsonl, row 2", "column 'label': label 7 is outside 0..1"),
        Skipped("set.jsonl, row 4", "column 'options': an option is empty"),
    ]
    check_skipped(skipped, 3, 0.4)
    with pytest.raises(
        InputError, match=r"2 rows of 5 cannot be used \(40.0%.*row 2.*outside 0..1.*max_invalid_share"
    ):
        check_skipped(skipped, 3, 0.39)


def test_a_set_without_a_row_that_can_be_used_is_refused() -> None:
    with pytest.raises(InputError, match="no choice sample.*row 1.*label 7 is outside"):
        prepare(rows(CHOICE | {"label": 7}), kind="choice", layout="plain", skipped=[])


def test_lambada_asks_for_what_follows_the_last_space() -> None:
    table = prepare(rows({"text": 'He said:\n\n"Yes, signs'}), kind="cloze", layout="lambada")
    assert table.to_pylist() == [{"sample_id": 0, "context": 'He said:\n\n"Yes,', "target": "signs"}]


def test_plain_pages_are_their_own_originals() -> None:
    table = prepare(rows({"text": "Größe zählt"}), kind="perplexity", layout="plain")
    assert table.to_pylist()[0] | {"text": ""} == {
        "sample_id": 0,
        "text": "",
        "page": 0,
        "original_bytes": 14,
        "original_words": 2,
    }


@pytest.mark.parametrize(("kind", "layout"), [(k, name) for k in LAYOUTS for name in LAYOUTS[k]])
def test_every_layout_gives_the_columns_of_its_kind(kind: str, layout: str) -> None:
    text = " = Title = " if layout == "wikitext" else "A whole sentence"
    row = {"text": text, "context": "A", "target": "b", "options": ["c", "d"], **HELLASWAG, **ARC, "label": 1}
    row |= {"task_id": 1, "prompt": "def f():", "test": "x", "entry_point": "f", "test_list": ["assert f"]}
    table = prepare(rows(row), kind=kind, layout=layout)
    assert table.schema.equals(SCHEMAS[kind])
    assert kind_of(table) == kind


def test_the_kind_stands_in_the_stamp_of_the_file(tmp_path: Path) -> None:
    write_table(tmp_path / "set.parquet", prepare(rows(CHOICE), kind="choice", layout="plain"))
    assert read_stamp(tmp_path / "set.parquet") == {"kind": "choice", "layout": "plain"}


def test_no_more_samples_than_wanted_are_read() -> None:
    broken = CHOICE | {"label": 7}
    table = prepare(rows(CHOICE, CHOICE, broken), kind="choice", layout="plain", samples=2)
    assert table["sample_id"].to_pylist() == [0, 1]


def test_fewer_samples_than_wanted_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        table = prepare(rows(CHOICE), kind="choice", layout="plain", samples=9)
    assert table.num_rows == 1
    assert "set.jsonl: 1 choice samples, 9 were asked for" in caplog.text


@pytest.mark.parametrize(
    ("kind", "layout", "record", "words"),
    [
        ("riddle", "plain", CHOICE, ["'riddle'", "perplexity, cloze, choice"]),
        ("choice", "lambada", CHOICE, ["'lambada'", "plain, hellaswag, arc"]),
        ("cloze", "lambada", {"words": "x"}, ["set.jsonl, row 1", "'text'", "it has words"]),
        ("cloze", "lambada", {"text": "single"}, ["set.jsonl, row 1", "'text'", "last word"]),
        ("cloze", "lambada", {"text": "ends with space "}, ["row 1", "last word"]),
        ("cloze", "plain", {"context": " ", "target": "x"}, ["row 1", "'context'", "empty"]),
        ("perplexity", "plain", {"text": 5}, ["row 1", "'text'", "int"]),
        ("perplexity", "plain", {"text": None}, ["row 1", "'text'", "NoneType"]),
        ("perplexity", "wikitext", {"text": "no heading"}, ["'text'", "layout plain"]),
        ("choice", "plain", CHOICE | {"label": 2}, ["row 1", "'label'", "2 is outside 0..1"]),
        ("choice", "plain", CHOICE | {"label": -1}, ["row 1", "-1 is outside 0..1"]),
        ("choice", "plain", CHOICE | {"label": ""}, ["row 1", "'label'", "whole number", "split"]),
        ("choice", "plain", CHOICE | {"label": "A"}, ["row 1", "'A'", "whole number"]),
        ("choice", "plain", CHOICE | {"label": True}, ["row 1", "whole number"]),
        ("choice", "plain", CHOICE | {"label": 1.5}, ["row 1", "1.5", "whole number"]),
        ("choice", "plain", CHOICE | {"options": ["one"]}, ["row 1", "'options'", "two or more"]),
        ("choice", "plain", CHOICE | {"options": "water"}, ["row 1", "'options'", "two or more"]),
        ("choice", "plain", CHOICE | {"options": ["x", ""]}, ["row 1", "'options'", "empty"]),
        ("choice", "hellaswag", HELLASWAG | {"endings": ["a", None]}, ["row 1", "'endings'", "two or more"]),
        ("choice", "hellaswag", HELLASWAG | {"endings": ["a", "[step]"]}, ["row 1", "'endings'", "empty"]),
        ("choice", "hellaswag", HELLASWAG | {"label": "4"}, ["row 1", "4 is outside 0..3"]),
        ("choice", "hellaswag", HELLASWAG | {"ctx_a": ""}, ["row 1", "'ctx_a'", "empty"]),
        ("choice", "arc", ARC | {"answerKey": "D"}, ["row 1", "'D'", "1, 2, 3"]),
        ("choice", "arc", ARC | {"choices": ["sand"]}, ["row 1", "'choices'"]),
        (
            "choice",
            "arc",
            ARC | {"choices": {"text": ["sand", "water", "wood"], "label": ["1", "2"]}},
            ["row 1", "'choices'", "with their labels"],
        ),
        (
            "choice",
            "arc",
            {"question": "Is (A) wet? (A) sand (B) water", "AnswerKey": "B"},
            ["row 1", "(A, A, B)", "options", "skip"],
        ),
        ("choice", "arc", {"question": "Wet? (A) sand (C) water", "AnswerKey": "C"}, ["row 1", "(A, C)"]),
        ("perplexity", "wikitext", {"text": 5}, ["row 1", "'text'", "int", "without one of its lines"]),
    ],
)
def test_a_value_that_cannot_be_used_is_named(
    kind: str, layout: str, record: dict[str, Any], words: list[str]
) -> None:
    message = refused(kind, layout, record)
    assert all(word in message for word in words), message


def test_a_column_that_one_row_lacks_names_the_row() -> None:
    assert "set.jsonl, row 2: no column 'text'" in refused(
        "perplexity", "plain", {"text": "x"}, {"other": "y"}
    )


@pytest.mark.parametrize(
    ("name", "kind", "layout", "samples"),
    [
        ("lambada_openai_test_first200", "cloze", "lambada", 200),
        ("hellaswag_val_first200", "choice", "hellaswag", 200),
        ("arc_challenge_validation", "choice", "arc", 299),
    ],
)
def test_published_sets_are_read_whole(name: str, kind: str, layout: str, samples: int) -> None:
    path = SHARED / f"{name}.parquet"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in {path.parent}")
    source = list(load_rows({"source": "file", "path": path}))
    table = prepare(source, kind=kind, layout=layout)
    assert table.num_rows == samples
    if layout == "arc":
        assert {len(options) for options in table["options"].to_pylist()} == {3, 4, 5}
        assert {row.values["answerKey"] for row in source} >= set("124ABCD")
    if layout == "hellaswag":
        assert table["label"].to_pylist() == [int(row.values["label"]) for row in source]
    if layout == "lambada":
        whole = [f"{row['context']} {row['target']}" for row in table.to_pylist()]
        assert whole == [row.values["text"] for row in source]
