"""What the report says beyond the aggregate tables: one view, made in SQL (`findings.sql`) and kept as a CSV file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from switchyard.artifacts.files import atomic, read_table
from switchyard.artifacts.stamps import attach_to
from switchyard.errors import InputError
from switchyard.statistics.multiplicity import LEVEL
from switchyard.warehouse.database import literal, rows

DATA_FILES = ("findings.sql",)
"""Files read from beside this module; the code fingerprint counts them."""

TABLES = ("configurations", "bh_routing_results", "bh_routing_configs", "paired_differences", "equal_compute")
"""The aggregate tables that the findings are derived from."""


def derive(aggregate: str | Path) -> duckdb.DuckDBPyConnection:
    """A database in memory with the view `findings` over the Parquet files in the folder `aggregate`.

    Raises InputError for a missing or damaged table.
    """
    connection = duckdb.connect()
    for table in TABLES:
        path = Path(aggregate) / f"{table}.parquet"
        if not path.is_file():
            raise InputError(f"{path}: no such table; run the aggregate stage first")
        content = read_table(path)
        connection.register(table, content.append_column("row", pa.array(range(len(content)))))
    connection.execute("SET VARIABLE significance = ?", [LEVEL])
    connection.execute((files(__package__) / "findings.sql").read_text(encoding="utf-8"))
    return connection


def findings(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The rows of the view `findings`, in the report's order."""
    return rows(connection, "FROM findings")


def meanings(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Column of `findings` -> what it holds."""
    query = """SELECT column_name, meaning FROM (DESCRIBE findings) JOIN meanings
        ON regexp_full_match(column_name, pattern)"""
    return dict(connection.execute(query).fetchall())


def write_findings(
    path: str | Path, connection: duckdb.DuckDBPyConnection, stamp: dict[str, Any] | None = None
) -> None:
    """Write the view as CSV, floats as the shortest decimal that reads back the same, its stamp and columns beside."""
    with atomic(path) as partial:
        connection.execute(f"COPY findings TO {literal(str(partial))} (FORMAT csv, HEADER)")
    if stamp is not None:
        attach_to(path, {**stamp, "columns": meanings(connection)})
