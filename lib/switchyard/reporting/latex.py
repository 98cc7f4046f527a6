"""Text, tables and macros for LaTeX."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd

from switchyard.reporting.numbers import number

ESCAPES = {
    "\\": r"\textbackslash{}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "α": r"$\alpha$",
    "γ": r"$\gamma$",
    "–": "--",
    "−": r"\ensuremath{-}",
    "≥": r"\ensuremath{\geq}",
    "·": r"\textperiodcentered{}",
}


def escaped(text: object) -> str:
    """Text as LaTeX prints it."""
    return "".join(ESCAPES.get(letter, letter) for letter in str(text))


def tabular(frame: pd.DataFrame, kinds: Mapping[str, str], *, long: bool = False) -> str:
    """A table in the style of booktabs; columns in `kinds` are numbers in that format, the others text.

    Args:
        frame: one row per row of the table, unrounded; its column names are the heads.
        kinds: column -> format of `switchyard.reporting.numbers.FORMATS`.
        long: whether it may run over pages (`longtable`), its head on each.
    """
    name = "longtable" if long else "tabular"
    places = "".join("r" if column in kinds else "l" for column in frame.columns)
    lines = [rf"\begin{{{name}}}{{{places}}}", r"\toprule"]
    lines += [" & ".join(map(escaped, frame.columns)) + r" \\", r"\midrule", *([r"\endhead"] if long else [])]
    for row in frame.itertuples(index=False):
        cells = [_cell(value, kinds.get(column)) for column, value in zip(frame.columns, row, strict=True)]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", rf"\end{{{name}}}"]) + "\n"


def macro(name: str, content: str) -> str:
    r"""A line that defines `\name`; macro names are letters only.

    Raises:
        ValueError: the name holds something else.
    """
    if not re.fullmatch("[A-Za-z]+", name):
        raise ValueError(f"{name!r} is no name of a LaTeX macro")
    return rf"\newcommand{{\{name}}}{{{content}}}" + "\n"


def _cell(value: object, kind: str | None) -> str:
    if kind is None:
        return "--" if value is None or value != value else escaped(value)
    return escaped(number(None if pd.isna(value) else float(value), kind))
