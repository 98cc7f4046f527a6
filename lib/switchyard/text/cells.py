"""Single values of a source's rows, checked: an error names the file, the row, the column and the remedy."""

from __future__ import annotations

from switchyard.errors import InputError
from switchyard.text.sources import Rows


def read_text(rows: Rows, index: int, column: str, *, may_be_empty: bool = False) -> str:
    """The text of a cell, which must hold more than white space unless it `may_be_empty`."""
    value = rows.records[index].get(column)
    place = f"{rows.place(index)}, column {column!r}"
    if not isinstance(value, str):
        raise InputError(f"{place}: {type(value).__name__} where text is needed; correct or drop the row")
    if not may_be_empty and not value.strip():
        raise InputError(f"{place}: empty text; correct or drop the row")
    return value


def read_texts(rows: Rows, index: int, column: str) -> list[str]:
    """The texts of a cell, at least two."""
    value = rows.records[index].get(column)
    if not (isinstance(value, list) and len(value) >= 2 and all(isinstance(item, str) for item in value)):
        raise InputError(
            f"{rows.place(index)}, column {column!r}: not a list of two or more texts; correct or drop the row"
        )
    return value


def read_label(rows: Rows, index: int, column: str, *, options: int) -> int:
    """The number of the true option; published sets write it as a number or as its digits."""
    value = rows.records[index].get(column)
    place = f"{rows.place(index)}, column {column!r}"
    digits = isinstance(value, str) and value.strip().isdecimal()
    if isinstance(value, bool) or not (isinstance(value, int) or digits):
        raise InputError(f"{place}: label {value!r} is no whole number; use a split that has its labels")
    if not 0 <= int(value) < options:
        raise InputError(f"{place}: label {int(value)} is outside 0..{options - 1}; correct or drop the row")
    return int(value)
