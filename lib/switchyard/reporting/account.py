"""Every number of a Markdown text is the rendering of a cell of a table, or it is found here.

A number is looked for among the cells that its line is about. In a table these are the cells of the configuration,
the set and the dataset that the row names, or the heading of the column; in a line that begins with a configuration,
the cells of that configuration; in any other line, the cells of what it names and of the study as a whole. A finding
on the loss counts only where the loss is spoken of, and so on (`_CLAUSE_WORDS` and its neighbours).
Configurations are named by label or name, sets and datasets in backticks or alone in a cell.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pandas as pd

from switchyard.errors import InputError
from switchyard.reporting.findings import KINDS
from switchyard.reporting.numbers import COLUMN_KINDS, counted, number

CONSTANTS = {
    "95 % interval": "level of all intervals",
    "adjusted p is below 0.05": "level of the verdicts after Holm's correction",
    "0.6/0.4 formula": "the literature's cost of a share of experts x: 0.6 x + 0.4",
    "60 % of a model's work": "what that formula gives the experts",
}
"""Phrases with constants of method -> what they are. A constant outside its phrase is a number like any other."""

_LINE_WORDS = ("trained",)
_CLAUSE_WORDS = ("loss", "accuracy", "floor", "ceiling")
_PIECE_WORDS = ("better", "worse", "distinguishable", "undecided")
"""A finding whose name holds one of these words counts only where the text says so: in the same line, between
semicolons, or between commas; in a table, in the heading of the column."""

_NUMBER = re.compile(r"(?:[^\W\d_]\w*-?)?<?(?:(?<![\w)\]])[+-])?\d+(?:,\d{3})*(?:\.\d+)?(?:[^\W\d_]\w*| ?%)?")
_PIECE = re.compile(r",(?!\d)| and ")
_FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
_LIST = re.compile(r"^\s*(?:[-*]|\d+\.)\s+")
_MARK = "\0"


class _Place(NamedTuple):
    """What a cell or a line is about; a part that is None is about no single one."""

    set_name: str | None
    config_name: str | None
    dataset: str | None


_Known = Mapping[str, set[tuple[_Place, frozenset[str]]]]
"""Printed number -> what the cells that it may come from are about, and the words that they need."""


class _Scope(NamedTuple):
    """What the cells behind a number may be about."""

    set_name: frozenset[str | None]
    config_name: frozenset[str | None]
    dataset: frozenset[str | None]


class _Named(NamedTuple):
    """What a text names: sets of names, and the text with the names taken out."""

    set_name: frozenset[str]
    config_name: frozenset[str]
    dataset: frozenset[str]
    rest: str


def refuse_unaccounted(markdown: str, frames: Mapping[str, pd.DataFrame]) -> None:
    """Raise InputError where `unaccounted` finds a number."""
    found = unaccounted(markdown, frames)
    if found:
        raise InputError(
            f"report: {counted(len(found), 'number')} that no table holds, first on {found[0]}; "
            "put it among the findings, or aggregate again"
        )


def unaccounted(markdown: str, frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Numbers of the text that are the rendering of no cell of `frames`, as `line 12: 47`.

    A cell is rendered in the format of its column (`numbers.COLUMN_KINDS`) or finding (`findings.KINDS`); a column
    without a format has no rendering. Text cells are names, and the numbers in them are no numbers of the text.
    Fenced blocks, which hold the run stamp, are left out.
    """
    text = _FENCE.sub(lambda block: "\n" * block.group().count("\n"), markdown).replace("−", "-")
    known, names = _renderings(frames), _Names(frames)
    heading: list[str] | None = None
    found = []
    for place, line in enumerate(text.splitlines(), start=1):
        if not line.startswith("|"):
            heading = None
            tokens = _of_prose(line, known, names)
        elif heading is None:
            heading = _cells_of(line)
            tokens = _of_prose(line, known, names)
        else:
            tokens = _of_row(_cells_of(line), heading, known, names)
        found += [f"line {place}: {token}" for token in tokens]
    return found


def _of_prose(line: str, known: _Known, names: _Names) -> Iterator[str]:
    named = names.of(_LIST.sub("", line))
    about_study = not named.rest.startswith(_MARK)
    scope = _Scope(
        named.set_name | {None},
        named.config_name | {None} if about_study else named.config_name,
        named.dataset | {None},
    )
    text = _without_constants(named.rest)
    for clause in text.split(";"):
        for piece in _PIECE.split(clause):
            yield from _missing(piece, scope, known, _said(text, clause, piece))


def _of_row(cells: list[str], heading: list[str], known: _Known, names: _Names) -> Iterator[str]:
    named = [names.of(cell, alone=True) for cell in cells]
    row = [frozenset().union(*(one[part] for one in named)) for part in range(3)]
    for one, title in zip(named, heading, strict=True):
        dataset = row[2] or names.of(title).dataset
        scope = _Scope(*(part or frozenset({None}) for part in (row[0], row[1], dataset)))
        yield from _missing(one.rest, scope, known, _said(title, title, title))


def _missing(text: str, scope: _Scope, known: _Known, said: frozenset[str]) -> Iterator[str]:
    for token in _NUMBER.findall(text):
        if not any(
            needed <= said and all(part in allowed for part, allowed in zip(place, scope, strict=True))
            for place, needed in known.get(token, ())
        ):
            yield token


def _said(line: str, clause: str, piece: str) -> frozenset[str]:
    """Words that a finding may need, as far as they are said where they count."""
    places = ((_LINE_WORDS, line), (_CLAUSE_WORDS, clause), (_PIECE_WORDS, piece))
    return frozenset(word for words, text in places for word in words if word in text)


def _needed(finding: str) -> frozenset[str]:
    return frozenset(finding.split("_")) & {*_LINE_WORDS, *_CLAUSE_WORDS, *_PIECE_WORDS}


def _without_constants(text: str) -> str:
    for phrase in CONSTANTS:
        text = text.replace(phrase, "")
    return text


class _Names:
    """Names in the text cells of frames."""

    def __init__(self, frames: Mapping[str, pd.DataFrame]) -> None:
        self._configurations: dict[str, set[str]] = defaultdict(set)
        self._groups: dict[str, set[str]] = {"set_name": set(), "dataset": set()}
        others: set[str] = set()
        for frame in frames.values():
            for column in frame.columns:
                values = {value for value in frame[column] if isinstance(value, str)}
                if column == "config_name":
                    for value in values:
                        self._configurations[value].add(value)
                elif column in self._groups:
                    self._groups[column] |= values
                elif column != "label":
                    others |= values
            if {"label", "config_name"} <= set(frame.columns):
                for label, name in zip(frame["label"], frame["config_name"], strict=True):
                    self._configurations[label].add(name)
        others |= set().union(*self._groups.values())
        self._configuration = _any_of(self._configurations)
        self._other = _any_of(name for name in others if re.search(r"\d", name))

    def of(self, text: str, *, alone: bool = False) -> _Named:
        """What `text` names; `alone`: sets and datasets may stand without backticks where there is nothing else."""
        quoted = set(re.findall(r"`([^`]+)`", text)) | ({text.strip("* ")} if alone else set())
        groups = [frozenset(self._groups[part] & quoted) for part in ("set_name", "dataset")]
        shown = self._configuration.findall(text)
        configurations = frozenset().union(*(self._configurations[one] for one in shown))
        rest = self._other.sub("", self._configuration.sub(_MARK, text))
        return _Named(groups[0], configurations, groups[1], rest)


def _any_of(names) -> re.Pattern:
    """Any of some names as whole words, the longest first; nothing where there is none."""
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'})(?!\w|\.\d)")


def _renderings(frames: Mapping[str, pd.DataFrame]) -> _Known:
    known: dict[str, set[tuple[_Place, frozenset[str]]]] = defaultdict(set)
    for frame in frames.values():
        columns = [name for name in frame.columns if name in COLUMN_KINDS]
        for row in frame.to_dict("records"):
            place = _Place(*(_or_none(row.get(part)) for part in _Place._fields))
            place = place if place.config_name is None else place._replace(set_name=None)
            if "finding" in row:
                printed = number(row["value"], KINDS[row["finding"]])
                known[printed].add((place, _needed(row["finding"])))
            for name in columns:
                if _or_none(row[name]) is not None:
                    known[number(float(row[name]), COLUMN_KINDS[name])].add((place, frozenset()))
    return known


def _or_none(value):
    return None if value is None or value is pd.NA or value != value else value


def _cells_of(line: str) -> list[str]:
    """Cells of a row of a pipe table."""
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inner)]
