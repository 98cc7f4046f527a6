"""Building a study's database from its traces, scores and speed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from switchyard.artifacts.files import atomic, check_pages
from switchyard.errors import InputError
from switchyard.traces.schema import LOGITS, PATH
from switchyard.warehouse.database import create, run_sql, transaction
from switchyard.warehouse.documentation import document_common_columns
from switchyard.warehouse.file_views import create_file_views
from switchyard.warehouse.invariants import refuse_impossible
from switchyard.warehouse.logits import measured

_FILES = ("trace", "scores", "trace_repeat", "scores_repeat")


def build(
    database: str | Path,
    *,
    experiments: Sequence[Mapping[str, Any]],
    speed_rows: Sequence[Mapping[str, Any]] = (),
    structures: Mapping[str, Mapping[str, Any]],
    study_folder: str | Path,
    stamp: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Create `database` (replacing it) with every table and view documented.

    `experiments`, in the order of the study: dicts with `schema_version, study, model, config, set_name, label,
    matched, target_k, strategy, k_or_max_k, min_k, alpha, null, weighting, num_experts, num_layers, trained_top_k,
    dataset, kind, trace, scores, trace_repeat, scores_repeat (None without a repeat), provenance`. Paths must
    lie under `study_folder`; the database names them relative to it, so it is read with that folder as working
    directory. `speed_rows`: dicts with the columns of the table `speed`, none for a configuration that was not timed.
    `structures`: by model, as `switchyard.models.blocks.describe` gives them. `stamp` is kept in the table
    `provenance`. `progress(done, total)` is called after each experiment. Raises InputError for a damaged
    trace or score file, ImpossibleResult for a result that breaks an invariant; then no database is left.
    """
    folder = Path(study_folder).resolve()
    rows = [_experiment_row(number, one, folder) for number, one in enumerate(experiments)]
    with atomic(database) as partial:
        connection = create(partial, folder)
        try:
            _insert_inputs(connection, rows, speed_rows, structures)
            if stamp is not None:
                connection.execute("INSERT INTO provenance VALUES (?)", [orjson.dumps(stamp).decode()])
            for done, (one, row) in enumerate(zip(experiments, rows), 1):
                _verify(one)
                _count(connection, row, folder)
                if progress:
                    progress(done, len(rows))
            _finish(connection, rows, folder)
            connection.execute("CHECKPOINT")
        finally:
            connection.close()
            shutil.rmtree(f"{partial}.tmp", ignore_errors=True)
            Path(f"{partial}.wal").unlink(missing_ok=True)


def _experiment_row(number: int, one: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {
        **one,
        "ordinal": number,
        "schema_version": str(one["schema_version"]),
        "is_static": one["min_k"] == one["k_or_max_k"],
        "null_name": one.get("null"),
        "provenance": orjson.dumps(one["provenance"]).decode(),
        **{name: _relative(one.get(name), folder) for name in _FILES},
    }


def _relative(path: str | Path | None, folder: Path) -> str | None:
    """`path` relative to the study's folder, which it must lie under."""
    if path is None:
        return None
    found = Path(os.path.abspath(path))
    if not found.is_file():
        raise InputError(f"{path}: no such file; evaluate the experiment before the warehouse is built")
    if not found.resolve().is_relative_to(folder):
        raise InputError(
            f"{path}: lies outside the study's folder {folder.name}; give the study that wrote it"
        )
    return found.resolve().relative_to(folder).as_posix()


def _insert_inputs(
    connection: duckdb.DuckDBPyConnection,
    rows: list[dict[str, Any]],
    speed_rows: Sequence[Mapping[str, Any]],
    structures: Mapping[str, Mapping[str, Any]],
) -> None:
    run_sql(connection, "inputs")
    run_sql(connection, "trace_tables")
    _insert(connection, "experiments", rows)
    _insert(connection, "model_structure", [{"model": model, **own} for model, own in structures.items()])
    _insert(connection, "speed", speed_rows)


def _finish(connection: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]], folder: Path) -> None:
    """Metrics and views from the counts; nothing impossible passes."""
    for part in ("layers", "parts", "metrics", "results", "paired", "invariants"):
        run_sql(connection, part)
    refuse_impossible(connection)
    with transaction(connection):
        create_file_views(connection, rows, folder)
        document_common_columns(connection)


def _insert(connection: duckdb.DuckDBPyConnection, table: str, content: Sequence[Mapping[str, Any]]) -> None:
    """Insert the columns that the table has; a key that a row lacks is null."""
    schema = connection.table(table).to_arrow_table().schema
    connection.register("given", pa.Table.from_pylist([dict(row) for row in content], schema=schema))
    connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM given")
    connection.unregister("given")


def _verify(one: Mapping[str, Any]) -> None:
    """Verify an experiment's files, since DuckDB compares no checksums; `measured` verifies the trace's logits."""
    for name in _FILES:
        if one.get(name) is not None:
            check_pages(one[name], without=[LOGITS] if name == "trace" else [])


def _count(connection: duckdb.DuckDBPyConnection, row: dict[str, Any], folder: Path) -> None:
    """Add one experiment's samples and the counts of its trace."""
    named = {name: row[name] for name in ("model", "config", "dataset")}
    run_sql(connection, "samples", **named, scores=row["scores"])
    sizes = {name: row[name] for name in ("num_layers", "num_experts")}
    run_sql(connection, "trace_counts", **named, **sizes, trace=row["trace"])
    trace = folder / row["trace"]
    columns = pq.read_schema(trace).names
    if PATH in columns:
        run_sql(connection, "trace_paths")
    if LOGITS in columns:
        connection.register("measured", measured(trace, row["trained_top_k"]))
        try:
            run_sql(connection, "trace_logits")
        except duckdb.Error:
            check_pages(trace)  # damaged logits reach DuckDB as an error without the file's name
            raise
        connection.unregister("measured")
    if row["trace_repeat"] is not None:
        run_sql(connection, "trace_repeat", trace_repeat=row["trace_repeat"])
        if PATH in columns:
            run_sql(connection, "trace_repeat_paths")
    if row["scores_repeat"] is not None:
        run_sql(connection, "samples_repeat", scores_repeat=row["scores_repeat"])
