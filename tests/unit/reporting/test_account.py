import re

import pandas as pd
import pytest

from switchyard.errors import InputError
from switchyard.reporting import account
from switchyard.reporting.account import refuse_unaccounted, unaccounted
from switchyard.reporting.findings import findings_table
from switchyard.reporting.markdown import report, sources

NAMES = {"study": "made-up 3", "model": "a model 8x7", "machine": "a toaster 4000, 2 cores"}
FRAMES = {
    "results": pd.DataFrame(
        {
            "config_name": ["a_1", "a_1", "b"],
            "label": ["A 1, max 2", "A 1, max 2", "B"],
            "dataset": ["cloze", "text", "cloze"],
            "perplexity": [18.3, 41.25, 12345.6],
            "loss_difference": [-0.03125, 0.5, None],
            "mcnemar_p": [0.0001, 0.25, None],
            "tokens_per_second": [4500.0, 4500.0, 9000.0],
            "unknown": [77.0, 77.0, 77.0],
        }
    ),
    "findings": pd.DataFrame(
        {
            "finding": ["loss_worse", "loss_better", "accuracy_worse", "experiments", "loss_worse"],
            "set_name": [None, None, None, None, "bh"],
            "config_name": [None, None, None, None, None],
            "dataset": None,
            "value": [48.0, 5.0, 32.0, 60.0, 13.0],
        }
    ),
}


@pytest.mark.parametrize(
    "line",
    [
        "A 1, max 2 on `cloze`: 18.30, -0.0312 nats, p <0.001.",
        "A 1, max 2 on `cloze`: \u22120.0312 nats.",
        "The loss is worse in 48 of 60 experiments, with its 95 % interval.",
        "The loss is better in 5, worse in 48; accuracy is worse in 32.",
        "| name | `cloze` | `text` |\n| :-- | --: | --: |\n| A 1, max 2 | [18.30, -0.0312] | +0.5000 |",
        "| set | loss: worse |\n| :-- | --: |\n| `bh` | 13 |",
        "| name | dataset | perplexity |\n| :-- | :-- | --: |\n| B | cloze | 12,346 |",
        '```json\n{"made": 99}\n```',
        "2. It ran on a_1.",
        "A 1, max 2 on `text`: from +0.5000 to 41.25. Then it ended.",
    ],
)
def test_numbers_of_the_tables_pass(line):
    assert unaccounted(line, FRAMES) == []


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("A 1, max 2 on `cloze`: 18.31.", "18.31"),
        ("A 1, max 2 on `text`: 18.30.", "18.30"),
        ("B on `cloze`: 18.30.", "18.30"),
        ("A 1, max 2 on `cloze`: 0.0312 nats.", "0.0312"),
        ("A 1, max 3 on `cloze`.", "1"),
        ("Perplexity 18.30.", "18.30"),
        ("A 1, max 2: worse in 48.", "48"),
        ("The loss is better in 48.", "48"),
        ("The accuracy is worse in 48.", "48"),
        ("The loss is worse in 48%.", "48%"),
        ("The loss is worse in 48; of 77.", "77"),
        ("It was top-48 whose loss is worse.", "top-48"),
        ("With 90 % intervals.", "90 %"),
        ("| name | `text` |\n| :-- | --: |\n| A 1, max 2 | 18.30 |", "18.30"),
        ("| set | loss: worse |\n| :-- | --: |\n| `bh` | 48 |", "48"),
        ("| name | dataset | perplexity |\n| :-- | :-- | --: |\n| B | cloze | 123,46 |", "123"),
    ],
)
def test_other_numbers_are_found(line, number):
    found = unaccounted(line, FRAMES)
    assert f"line {line.count(chr(10)) + 1}: {number}" in found


def test_the_refusal_names_the_place():
    with pytest.raises(InputError, match=r"^report: 1 number that no table holds, first on line 3: 47; .*$"):
        refuse_unaccounted("# Title\n\nThe loss is worse in 47.\n", FRAMES)


@pytest.fixture
def study(made_up, split_verdicts):
    """A report of made-up tables and the tables behind it."""
    tables = split_verdicts(made_up(controls=True))
    return report(tables, **NAMES), sources(tables, findings_table(tables), **NAMES)


PLACES = [
    r"- \*\*Equal compute, loss\.\*\* Of (72) comparisons",
    r"- \*\*Equal compute, loss\.\*\* .*?, (\d+) worse",
    r"- BH α 0\.30, max 16, at (1\.33) to",
    r"- BH α 0\.30, max 16, .*? on (\d) of 3 datasets \(loss\)",
    r"\| BH α 0\.30, max 16 \| choice \| (1\.33) \|",
    r"\| BH α 0\.60, max 64 \| 5\.43 \| \*\*(\S+)\*\* ",
    r"top-64 \| 64\.00 \| -(110\.5) %",
]
"""In a sentence, in a verdict, in tables."""


def test_one_wrong_digit_is_found(study):
    text, frames = study
    assert unaccounted(text, frames) == []
    for pattern in PLACES:
        last = re.search(pattern, text).end(1) - 1
        wrong = text[:last] + str((int(text[last]) + 3) % 10) + text[last + 1 :]
        line = text.count("\n", 0, last) + 1
        assert [found.split(":")[0] for found in unaccounted(wrong, frames)] == [f"line {line}"], pattern


def test_hardly_a_wrong_digit_goes_unseen(study, monkeypatch):
    text, frames = study
    known, names = account._renderings(frames), account._Names(frames)
    monkeypatch.setattr(account, "_renderings", lambda _: known)
    monkeypatch.setattr(account, "_Names", lambda _: names)
    lines, heading, planted, seen = text.splitlines(), "", 0, 0
    for line in lines:
        heading = "" if not line.startswith("|") else heading or line
        start = re.match(r"\d+\. ", line)
        for digit in list(re.finditer(r"\d", line))[bool(start) :][::5]:
            wrong = f"{line[: digit.start()]}{(int(digit[0]) + 1) % 10}{line[digit.end() :]}"
            planted += 1
            seen += bool(unaccounted(f"{heading}\n{wrong}" if line != heading else wrong, frames))
    assert planted > 1000 and seen >= 0.99 * planted
