"""Single values of a source's rows, checked: an error names the file, the row, the column and the remedy."""

from __future__ import annotations

import ast
import json
from contextlib import suppress
from typing import Any

from switchyard.errors import InputError
from switchyard.text.sources import Row


def read_cell(row: Row, *columns: str) -> Any:
    """The value of the first of these columns that the row has."""
    for column in columns:
        if column in row.values:
            return row.values[column]
    raise InputError(
        f"{row.place}: no column {columns[0]!r}, which this layout needs; it has {', '.join(row.values)}; "
        "name the layout that the file has"
    )


def read_text(row: Row, *columns: str, may_be_empty: bool = False) -> str:
    """The text of a cell, which must hold more than white space unless it `may_be_empty`."""
    value = read_cell(row, *columns)
    place = f"{row.place}, column {columns[0]!r}"
    if not isinstance(value, str):
        raise InputError(f"{place}: {type(value).__name__} where text is needed; {REMEDY}")
    if not may_be_empty and not value.strip():
        raise InputError(f"{place}: empty text; {REMEDY}")
    return value


def read_texts(row: Row, column: str) -> list[str]:
    """The texts of a cell, at least two; a cell of a CSV file holds them as JSON or as Python writes them."""
    value = read_nested(row, column)
    if not (isinstance(value, list) and len(value) >= 2 and all(isinstance(item, str) for item in value)):
        raise InputError(f"{row.place}, column {column!r}: not a list of two or more texts; {REMEDY}")
    return value


def read_nested(row: Row, column: str) -> Any:
    """A cell that holds a list or a map, which may be written as text: as JSON, or as Python writes it."""
    value = read_cell(row, column)
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        for reader in (json.loads, ast.literal_eval):
            with suppress(ValueError, SyntaxError):
                return reader(value)
    return value


def read_label(row: Row, column: str, *, options: int) -> int:
    """The number of the true option; published sets write it as a number or as its digits."""
    value = read_cell(row, column)
    place = f"{row.place}, column {column!r}"
    try:
        number = int(float(value)) if isinstance(value, str) else int(value)
        is_whole = not isinstance(value, bool) and float(value) == number
    except (TypeError, ValueError, OverflowError):
        is_whole = False
    if not is_whole:
        raise InputError(f"{place}: label {value!r} is no whole number; use a split that has its labels")
    if not 0 <= number < options:
        raise InputError(f"{place}: label {number} is outside 0..{options - 1}; {REMEDY}")
    return number


REMEDY = "correct or drop the row, or set `invalid_rows: skip`"
