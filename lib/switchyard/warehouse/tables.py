"""The published tables of a study, from its database."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from switchyard.artifacts.files import atomic, write_json, write_table
from switchyard.artifacts.stamps import attach_to
from switchyard.warehouse.database import open_read_only

PRINTED = ("bh_routing_results", "bh_routing_configs")
"""Views written as CSV, JSON and Parquet."""

STORED = ("configurations", "routing_by_layer", "expert_usage", "count_distribution", "paired_differences")
"""Views written as Parquet."""


def write_tables(database: str | Path, folder: str | Path, stamp: dict[str, Any] | None = None) -> list[Path]:
    """Write every published table into `folder`, rows in the study's order; returns the paths.

    The stamp goes into the Parquet files, and beside CSV and JSON into `{file}.provenance.json`.

    A number has the same digits in all three formats: CSV and JSON hold the shortest decimal that reads back the
    float64 of the Parquet file; a null is an empty field, null and null.
    """
    paths = []
    with open_read_only(database) as connection:
        for name in (*PRINTED, *STORED):
            table = connection.sql(f"FROM {name}").to_arrow_table()
            path = Path(folder) / name
            paths += write_printed(path, table, stamp) if name in PRINTED else [_stored(path, table, stamp)]
    return paths


def write_printed(path: Path, table: pa.Table, stamp: dict[str, Any] | None) -> list[Path]:
    """Write one table as CSV, JSON and Parquet, the same digits in all three; returns the paths."""
    stored = _stored(path, table, stamp)
    write_json(path.with_suffix(".json"), table.to_pylist())
    _write_csv(path.with_suffix(".csv"), table)
    plain = [path.with_suffix(suffix) for suffix in (".csv", ".json")]
    return [*plain, stored] if stamp is None else [*plain, stored, *(attach_to(one, stamp) for one in plain)]


def _stored(path: Path, table: pa.Table, stamp: dict[str, Any] | None) -> Path:
    write_table(path.with_suffix(".parquet"), table, stamp)
    return path.with_suffix(".parquet")


def _write_csv(path: Path, table: pa.Table) -> None:
    with atomic(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.column_names)
        for row in table.to_pylist():
            writer.writerow([cell(value) for value in row.values()])


def cell(value: str | float | None) -> str:
    """A value as its field of the CSV file."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
