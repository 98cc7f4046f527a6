"""The data dictionary: comments kept in the database, and Markdown made from them."""

from __future__ import annotations

from pathlib import Path

import duckdb

from switchyard.warehouse.database import literal, open_read_only, rows

_COMMON = {
    "config_name": "Name of the configuration, as in file names.",
    "layer": "MoE block, counted from 0 in order of execution.",
}

# Columns of views that only gather others mean there what they mean in these tables.
_SOURCES = ("metrics", "quality", "experiments", "samples")


def document_common_columns(connection: duckdb.DuckDBPyConnection) -> None:
    """Give every column without a comment the one it has where it comes from."""
    sources = ", ".join(literal(name) for name in _SOURCES)
    query = f"SELECT * FROM duckdb_columns() WHERE table_name IN ({sources}) AND comment IS NOT NULL"
    known = {row["column_name"]: row["comment"] for row in rows(connection, query)} | _COMMON
    for row in rows(connection, "SELECT * FROM duckdb_columns() WHERE NOT internal AND comment IS NULL"):
        if row["column_name"] in known:
            place = f"{row['table_name']}.{row['column_name']}"
            connection.execute(f"COMMENT ON COLUMN {place} IS {literal(known[row['column_name']])}")


def describe_warehouse(path: str | Path) -> str:
    """The data dictionary as Markdown: every table and view, every column, its type and meaning."""
    with open_read_only(path) as connection:
        tables = rows(connection, _TABLES)
        columns = rows(connection, "SELECT * FROM duckdb_columns() WHERE NOT internal ORDER BY column_index")
    text = ["# Data dictionary", "", "Every table and view of `study.duckdb`.", ""]
    for table in tables:
        own = [column for column in columns if column["table_name"] == table["name"]]
        text += [f"## {table['name']} ({table['kind']})", "", table["comment"] or "", ""]
        text += ["| column | type | meaning |", "|---|---|---|"]
        text += [f"| {one['column_name']} | {one['data_type']} | {one['comment'] or ''} |" for one in own]
        text.append("")
    return "\n".join(text)


_TABLES = """
SELECT table_name AS name, 'table' AS kind, comment FROM duckdb_tables() WHERE NOT internal
UNION ALL SELECT view_name, 'view', comment FROM duckdb_views() WHERE NOT internal
ORDER BY kind, name
"""
