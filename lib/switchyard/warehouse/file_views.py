"""Views over the Parquet files: every row of every trace and score file, without a copy.

Their paths are relative to the study's folder: `cd results/<study> && duckdb study.duckdb`, or, from
elsewhere, `SET file_search_path = 'results/<study>'` once the database is open.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from switchyard.traces.schema import COLUMNS, LOGITS, LOGITS_MEANING, PATH, PATH_MEANING
from switchyard.warehouse.database import literal

_VIEWS = {
    "traces": ("trace", "Every routing decision: one row per (sample, sequence, layer, position)."),
    "repeat_traces": ("trace_repeat", "The same for the samples that were run again."),
    "scores": ("scores", "Every score file: one row per sample."),
    "repeat_scores": ("scores_repeat", "The same for the samples that were run again."),
}

_PLACE = " Read with the study's folder as working directory; filter by model, config and dataset to open few files."

_SCORES = {
    "greedy": "Cloze: every target token is the most probable one.",
    "argmax_ids": "Most probable token at every scored position, options one after the other.",
}


def create_file_views(
    connection: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]], folder: Path
) -> None:
    """Create the views of `_VIEWS` that have files, with their comments."""
    for view, (key, meaning) in _VIEWS.items():
        parts = [_part(row, row[key]) for row in rows if row[key] is not None]
        if not parts:
            continue
        connection.execute(f"CREATE VIEW {view} AS\n" + "\nUNION ALL BY NAME\n".join(parts))
        connection.execute(f"COMMENT ON VIEW {view} IS {literal(meaning + _PLACE)}")
        names = {
            name for row in rows if row[key] is not None for name in pq.read_schema(folder / row[key]).names
        }
        for column, meaning in _meanings(connection, key).items():
            if column in names:
                connection.execute(f"COMMENT ON COLUMN {view}.{column} IS {literal(meaning)}")


def _part(row: dict[str, Any], path: str) -> str:
    keys = ", ".join(f"{literal(row[key])} AS {key}" for key in ("model", "config", "dataset"))
    return f"SELECT {keys}, * FROM read_parquet({literal(path)})"


def _meanings(connection: duckdb.DuckDBPyConnection, key: str) -> dict[str, str]:
    """Comments of the columns; those of scores are those of the table `samples`."""
    if key.startswith("trace"):
        return {name: meaning for name, (_, meaning) in COLUMNS.items()} | {
            LOGITS: LOGITS_MEANING,
            PATH: PATH_MEANING,
        }
    documented = "FROM duckdb_columns() WHERE table_name = 'samples' AND comment IS NOT NULL"
    return dict(connection.execute(f"SELECT column_name, comment {documented}").fetchall()) | _SCORES
