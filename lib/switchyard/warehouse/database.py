"""Opening a study's database, and the SQL that stands beside this module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import duckdb
import orjson

from switchyard.artifacts.files import damaged

MEMORY_LIMIT = "2GB"
"""Beyond it DuckDB spills to a folder beside the database; reading one trace at a time it seldom does."""

THREADS = 2
"""A constant, whatever the machine: the result must not depend on it, and a cluster job asks for that many."""

_FAULTS = ("Corrupt database file", "Could not read enough bytes")
"""What DuckDB says of a damaged database."""

DATA_FILES = ("sql/*.sql",)
"""Files read from beside this module; the code fingerprint counts them."""


def create(path: Path, study_folder: Path) -> duckdb.DuckDBPyConnection:
    """A new database that finds files by their path relative to `study_folder` while it is built."""
    connection = duckdb.connect(path)
    connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
    connection.execute(f"SET threads = {THREADS}")
    connection.execute(f"SET temp_directory = {literal(f'{path}.tmp')}")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET enable_progress_bar = false")
    connection.execute(f"SET file_search_path = {literal(str(study_folder))}")
    return connection


@contextmanager
def open_read_only(path: str | Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """An existing database. Views over traces and scores need the study's folder as working directory.

    Raises:
        InputError: the database is damaged or truncated.
    """
    try:
        with duckdb.connect(path, read_only=True) as connection:
            yield connection
    except duckdb.Error as error:
        if any(fault in str(error) for fault in _FAULTS):
            raise damaged(path, str(error)) from error
        raise


def run_sql(connection: duckdb.DuckDBPyConnection, name: str, **variables: str | int | None) -> None:
    """Run `sql/{name}.sql` with its variables set."""
    for variable, value in variables.items():
        connection.execute(f"SET VARIABLE {variable} = ?", [value])
    statements = (files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    with transaction(connection):
        connection.execute(statements)


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Make many statements one write to the disk; a failure leaves the database to be thrown away."""
    connection.execute("BEGIN")
    yield
    connection.execute("COMMIT")


def literal(text: str) -> str:
    """`text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def warehouse_stamp(connection: duckdb.DuckDBPyConnection) -> dict:
    """The run stamp of an open study database; empty where it was built without one."""
    found = connection.execute("SELECT stamp FROM provenance").fetchone()
    return orjson.loads(found[0]) if found else {}


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict]:
    """The rows of a query as dicts in column order."""
    cursor = connection.execute(query)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
