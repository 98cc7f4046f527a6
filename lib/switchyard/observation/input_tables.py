"""Tables from elsewhere: read whole, with the columns that are needed, and numbers that can be counted with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from switchyard.errors import InputError

MOST = 2.0**62
"""Counts sum to less."""


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A Parquet file, or a CSV file (`.csv`) with a header; `columns`: only those of them that it has.

    Raises:
        InputError: missing, empty, or not whole.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a Parquet file")
    try:
        return _read_csv(path) if path.suffix == ".csv" else _read_parquet(path, columns)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{path}: no whole Parquet or .csv file ({reason}); fetch or make it again"
        ) from error


def _read_parquet(path: Path, columns: Sequence[str] | None) -> pa.Table:
    names = pq.read_schema(path).names
    return pq.read_table(path, columns=[one for one in columns or names if one in names])


def _read_csv(path: Path) -> pa.Table:
    return pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(newlines_in_values=True))


def need(names: Sequence[str], columns: Sequence[str], place: str, kind: str) -> None:
    """Raise InputError for a table that lacks one of `columns`; `kind` says what the table ought to be."""
    missing = [one for one in columns if one not in names]
    if missing:
        raise InputError(
            f"{place}: column {missing[0]} is missing; give {kind} with columns {', '.join(columns)}"
        )


def whole_numbers(table: pa.Table, column: str, place: str) -> np.ndarray:
    """A column of whole numbers from 0 upwards, int64 [rows].

    Raises:
        InputError: empty cells, another type, a number below 0, or counts with too large a sum (`check_sum`).
    """
    values = table[column]
    if values.null_count or not pa.types.is_integer(values.type):
        held = "empty cells" if values.null_count else values.type
        raise InputError(f"{place}: column {column} holds {held}; give whole numbers")
    if len(values) and pc.min(values).as_py() < 0:
        raise InputError(f"{place}: column {column} holds {pc.min(values)}; give numbers from 0 upwards")
    if column == "count":
        check_sum(values.to_numpy(), f"{place}: column {column}")
    return values.to_numpy().astype(np.int64, copy=False)


def check_sum(values: np.ndarray, place: str) -> None:
    """Raise InputError for numbers from 0 upwards, [rows], whose sum is too large for 64 bits."""
    total = values[np.isfinite(values)].sum(dtype=np.float64)
    if total >= MOST:
        raise InputError(
            f"{place} sums to {total:.3g}, more than any text has; give counts of occurrences below {MOST:.3g}"
        )


def names(table: pa.Table, column: str, place: str) -> tuple[np.ndarray, list[str]]:
    """A column of names as codes, int64 [rows], and the names in alphabetical order.

    Raises:
        InputError: the column has empty cells.
    """
    values = table[column]
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if values.null_count:
        raise InputError(f"{place}: column {column} has empty cells; give every row a {column}")
    encoded = values.combine_chunks().dictionary_encode()
    found = [str(one) for one in encoded.dictionary.to_pylist()]
    order = np.argsort(found, kind="stable")
    return np.argsort(order)[encoded.indices.to_numpy()].astype(np.int64), [found[one] for one in order]
