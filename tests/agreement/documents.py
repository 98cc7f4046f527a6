"""Documents in the columns of four public sets: parts of installed documentation, and oddities by hand.

The sets themselves are not part of the project. Documentation gives text that the pocket models know something
about, so that not all answers are wrong; the oddities are what published sets have somewhere in their thousands.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pyarrow as pa

from switchyard.text.corpus import harvest
from switchyard.text.pocket import prepare_pocket

Record = dict[str, Any]


@cache
def corpus() -> pa.Table:
    """Documentation of one package, with the sides of the pocket corpus."""
    documents = harvest(("numpy",))
    columns = ("name", "split", "digest", "text")
    return pa.table({name: [getattr(document, name) for document in documents] for name in columns})


def pocket(kind: str, samples: int) -> list[Record]:
    return prepare_pocket(kind, corpus(), samples=None).slice(0, samples).to_pylist()


ODD_PASSAGES = (
    'He looked up. "Yes," she said, "I know. Nobody, not even the old antidisestablishmentarianist',
    "Der Aufsatz handelt von der Größe, von der Kälte und vom Größenwahn",
    "The answer to the question about the shape of the array is 42",
    "Return the mean of the array; see also `numpy.mean`, `numpy.median` and `numpy.percentile`.",
    "Two blanks stand before the last  word",
    "A blank and a line's end \n stand in the middle , and again\nat the end\n",
    "\tIndented, and with a tab before\tthe\tlast one",
    "数学 は 楽しい 数学",
    "The sign for it is 🙂, and then again 🙂",
    "<|endoftext|>An end of text opens this passage, as it opens every text",
    "It ends in an end of text <|endoftext|>",
    "She didn't know what the dogs' owner's naïveté's",
    "a b",
)
"""LAMBADA: what follows the last blank is asked for. Several tokens, other scripts, blanks of all kinds."""


def lambada() -> list[Record]:
    """Columns of LAMBADA: `text`."""
    passages = [f"{row['context']} {row['target']}" for row in pocket("cloze", 12)]
    beginnings = [re.match(r"(?s)(.{120,}? \S+)\s", row["text"])[1] for row in pocket("perplexity", 28)]
    return [{"text": text} for text in (*passages, *beginnings, *ODD_PASSAGES)]


def hellaswag() -> list[Record]:
    """Columns of HellaSwag: `activity_label`, `ctx_a`, `ctx_b`, `endings`, `label` as digits."""
    rows = []
    for row in pocket("choice", 16):
        first, _, second = row["context"].rpartition("\n")
        rows.append(_story("Reading", first or second, second if first else "", row["options"], row["label"]))
    return rows + ODD_STORIES


def _story(activity: str, first: str, second: str, endings: list[str], label: int) -> Record:
    return {
        "activity_label": activity,
        "ctx_a": first,
        "ctx_b": second,
        "endings": endings,
        "label": str(label),
    }


ODD_STORIES = [
    _story(
        "Computers and Electronics",
        "[header] How to sort an array [title] Choose the axis along which to sort. [step] The default is the last.",
        "",
        [
            "[title] Give None to flatten first. [step] The array is flattened [substeps] before it is sorted.",
            "[title] Sort. [step]  Then sort again.",
            "Never sort. [title] Arrays are not to be sorted.",
            "[step] Do as you like.",
        ],
        0,
    ),
    _story(
        "Pole vault",
        "A woman holds a pole.  She RUNS",
        "THEN she",
        [
            "jumps over the bar.",
            "sings [in French] the Übung aloud.",
            "is  a  pole.",
            "🙂 waves, waves, waves!",
        ],
        3,
    ),
    _story(
        "Élan", 'The "words" in quotes,', "école, they say,", ["is 'it'.", "are", "{be}", "was: what? "], 2
    ),
    _story(" Blanks ", " at both ends ", "of everything ", [" one", "two ", " three ", "four"], 1),
    _story("Length", "The shortest ending wins, or the longest:", "", ["x", "x" * 90, "x y z " * 20, "."], 0),
]
"""HellaSwag: bracketed artefacts, empty second parts, capitals, endings of very different lengths."""


def arc() -> list[Record]:
    """Columns of ARC: `question`, `choices` (`text`, `label`), `answerKey`; 3 to 5 choices, letters or digits."""
    rows = []
    for number, row in enumerate(pocket("choice", 22)):
        options, label = list(row["options"]), row["label"]
        if number % 4 == 1:
            options, label = options + [options[label - 1].upper()], label
        elif number % 4 == 2:
            del options[3 if label < 3 else 0]
            label = min(label, 2)
        rows.append(_question(row["context"], options, "12345" if number % 2 else "ABCDE", label))
    return rows + ODD_QUESTIONS


def _question(question: str, options: list[str], names: str, label: int) -> Record:
    return {
        "id": f"{question[:8]}",
        "question": question,
        "choices": {"text": options, "label": list(names[: len(options)])},
        "answerKey": names[label],
    }


ODD_QUESTIONS = [
    _question("Which of these is a float?", ["3", "4.0", "five"], "ABC", 1),
    _question("Which holds no 'quote'?", ["it's", '"so"', "`none`", "\\n", "new\nline"], "12345", 2),
    _question("Was ist größer als 2 °C? ", ["1 °C", "−5 °C", "3 °C", "Kälte"], "1234", 2),
    _question("What is wet?\nThink.", ["sand", "water", "water", "sand "], "ABCD", 1),
    _question("{{question}} and {% raw %}", ["[x]", "{x}", "(x)"], "123", 0),
    _question("Which one is a sign?", ["~", "дом и сад", "сад и дом", "öööö"], "1234", 0),
    _question(" A blank first and a 🙂 ", ["a", "a b c d e f g h i j", "🙂🙂🙂", "é", "e"], "ABCDE", 4),
]
"""ARC: quotes of both kinds, line ends, equal options, template signs, and characters of several bytes."""


def wikitext() -> str:
    """A raw file: a first line that is blank, a page longer than any window, short ones, headings of three levels."""
    texts = [row["text"] for row in pocket("perplexity", 9)]
    sections = [f" = = Part {i} = = \n{_paragraphs(text)}" for i, text in enumerate(texts[:6])]
    return "".join(
        [
            f" \n = Long page = \n \n{''.join(sections)} = = = Deeper = = = \n{_paragraphs(texts[6])}",
            f" = One line = \n{ODD_LINE}",
            f' = Bare heading ( 1 @,@ 000 ) = \n \n = Größe & " quotes " = \n \n{_paragraphs(texts[7])} \n',
            f" = Last = \n = = Part = = \n = = = = Deepest = = = = \n{_paragraphs(texts[8])} \n",
        ]
    )


ODD_LINE = (
    " It 's 20 ° C , or 1 @,@ 234 @.@ 5 m ( about N feet ) ; the dogs ' \" own \" bowls : [ sic ] { or so } ! "
    "Why ? A well @-@ known <unk> 数学 🙂 — — ' quoted ' text . \n"
)
"""WikiText: every spelling that is turned back into running text."""


def _paragraphs(text: str) -> str:
    """Lines as WikiText has them: a blank at both ends, signs set off by blanks."""
    parts = [" ".join(re.sub(r"([.,;:!?()\[\]\"'])", r" \1 ", part).split()) for part in text.split("\n\n")]
    return "".join(f" {part} \n" for part in parts if part)


def lines_of(raw: str) -> list[Record]:
    """Column `text` of WikiText by lines, in which a blank line is an empty text."""
    lines = raw.removesuffix("\n").split("\n")
    return [{"text": f"{line}\n" if line.strip() else ""} for line in lines]
