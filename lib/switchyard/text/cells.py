"""Single values of a source's rows, checked: an error names the file, the row, the column and the remedy."""

from __future__ import annotations

import ast
import io
import json
import tokenize
from contextlib import suppress
from typing import Any

from switchyard.errors import InputError
from switchyard.text.sources import Row


def read_cell(row: Row, *columns: str) -> Any:
    """The value of the first of these columns that the row has.

    Raises:
        InputError: the row could not be read, or has none of them.
    """
    if row.fault:
        raise InputError(f"{row.place}: {row.fault}; {REMEDY}")
    for column in columns:
        if column in row.values:
            return row.values[column]
    raise InputError(
        f"{row.place}: no column {columns[0]!r}, which this layout needs; it has {', '.join(row.values)}; "
        "name the layout that the file has, or a split that has this column"
    )


def read_text(row: Row, *columns: str, may_be_empty: bool = False) -> str:
    """The text of a cell, which must hold more than white space unless it `may_be_empty`; then null is empty, too.

    Raises:
        InputError: the cell holds no text, or white space only where it may not be empty.
    """
    value = read_cell(row, *columns)
    if value is None and may_be_empty:
        return ""
    place = f"{row.place}, column {columns[0]!r}"
    if not isinstance(value, str):
        raise InputError(f"{place}: {type(value).__name__} where text is needed; {REMEDY}")
    if not may_be_empty and not value.strip():
        raise InputError(f"{place}: empty text; {REMEDY}")
    return value


def read_texts(row: Row, column: str) -> list[str]:
    """The texts of a cell, at least two.

    Raises:
        InputError: the cell holds no list of two or more texts.
    """
    value = read_nested(row, column)
    if not (isinstance(value, list) and len(value) >= 2 and all(isinstance(item, str) for item in value)):
        raise InputError(f"{row.place}, column {column!r}: not a list of two or more texts; {REMEDY}")
    return value


def read_nested(row: Row, column: str) -> Any:
    """A cell that holds a list or a map, which a CSV file has as text: as JSON, or as Python or NumPy writes it."""
    value = read_cell(row, column)
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        for reader in (json.loads, _of_python):
            with suppress(ValueError, SyntaxError, tokenize.TokenError):
                return reader(value)
    return value


def _of_python(text: str) -> Any:
    """A literal of Python. NumPy's arrays, which `datasets` and pandas write to CSV, count as lists.

    They have no commas (`['a' 'b']`), or stand within `array([...], dtype=object)`.
    """
    tokens: list[str] = []
    was_text = False
    for token in tokenize.generate_tokens(io.StringIO(text.strip()).readline):
        if token.type not in (tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER):
            is_text = token.type == tokenize.STRING
            tokens += [",", token.string] if was_text and is_text else [token.string]
            was_text = is_text
    plain = " ".join(tokens).replace(", dtype = object )", ")").replace("array (", "(")
    return ast.literal_eval(plain)


def read_label(row: Row, column: str, *, options: int) -> int:
    """The number of the true option; published sets write it as a number or as its digits.

    Raises:
        InputError: the cell holds no whole number in 0..`options` - 1.
    """
    value = read_cell(row, column)
    place = f"{row.place}, column {column!r}"
    try:
        number = int(float(value)) if isinstance(value, str) else int(value)
        is_whole = not isinstance(value, bool) and float(value) == number
    except (TypeError, ValueError, OverflowError):
        is_whole = False
    if not is_whole:
        raise InputError(
            f"{place}: label {value!r} is no whole number; use a split that has its labels, or {REMEDY}"
        )
    if not 0 <= number < options:
        raise InputError(f"{place}: label {number} is outside 0..{options - 1}; {REMEDY}")
    return number


REMEDY = "correct or drop the row"
"""How an error ends that a single row causes."""
