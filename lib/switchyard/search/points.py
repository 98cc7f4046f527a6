"""The tables of a search: a file per batch of evaluated points, and all of them as one trajectory.

A file's columns are `batch, seed, place`, one column per dimension, and the fields of `Outcome`. Its rows are the
points of the batch in the order in which they were asked, which is what the next batch is asked from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from switchyard.artifacts.files import read_table, write_table
from switchyard.errors import InputError
from switchyard.search.methods import Evaluated
from switchyard.search.objective import Outcome
from switchyard.search.space import Point, Space

_TYPES = {"integer": pa.int64(), "real": pa.float64(), "categorical": pa.string()}
_PLACE = {"batch": pa.int32(), "seed": pa.int64(), "place": pa.int32()}
_OUTCOME = {
    "quality": pa.float64(),
    "speed": pa.float64(),
    "degradation": pa.float64(),
    "feasible": pa.bool_(),
    "objective": pa.float64(),
    "acting_share": pa.float64(),
    "failed": pa.string(),
}


def schema(space: Space) -> pa.Schema:
    """Columns of a file of points.

    Raises:
        InputError: a dimension has the name of another column.
    """
    parameters = {one.name: _TYPES[one.kind] for one in space.dimensions}
    if clash := [name for name in parameters if name in _PLACE or name in _OUTCOME]:
        raise InputError(
            f"search space {space.name}: a dimension is named {clash[0]}, as a column; rename it"
        )
    return pa.schema({**_PLACE, **parameters, **_OUTCOME})


def write_points(
    path: str | Path,
    space: Space,
    points: Sequence[Point],
    outcomes: Sequence[Outcome],
    *,
    batch: int,
    seed: int,
    stamp: Mapping[str, Any] | None = None,
) -> None:
    """Write `points/{batch}.parquet`: the points of a batch, in the order asked, and what each is worth."""
    rows = [
        {"batch": batch, "seed": seed, "place": place, **point, **asdict(outcome)}
        for place, (point, outcome) in enumerate(zip(points, outcomes, strict=True))
    ]
    write_table(
        path, pa.Table.from_pylist(rows, schema=schema(space)), None if stamp is None else dict(stamp)
    )


def read_points(paths: Iterable[str | Path], space: Space) -> pd.DataFrame:
    """All rows of some files, by seed, batch and place, whatever the order of the files.

    Raises:
        InputError: a file is damaged, or was made for another space.
    """
    wanted, tables = schema(space), []
    for path in paths:
        table = read_table(path)
        if not table.schema.equals(wanted):
            raise InputError(
                f"{path}: its columns are not those of the space {space.name}; make the points again"
            )
        tables.append(table.replace_schema_metadata(None))
    rows = pa.concat_tables(tables) if tables else wanted.empty_table()
    return rows.sort_by([(name, "ascending") for name in ("seed", "batch", "place")]).to_pandas()


def evaluated(rows: pd.DataFrame, space: Space, max_quality_degradation: float) -> list[Evaluated]:
    """The points of one seed as the next batch is asked from them; a failed one has no numbers.

    Raises:
        InputError: rows of several seeds, which are searches of their own.
    """
    if rows["seed"].nunique() > 1:
        raise InputError(
            "search: a batch is asked from the points of one seed; read the files of that seed alone"
        )
    found = []
    for row in rows.to_dict("records"):
        point = {one.name: one.nearest(row[one.name]) for one in space.dimensions}
        failed = pd.isna(row["objective"])
        excess = None if failed else math.log1p(row["degradation"]) - math.log1p(max_quality_degradation)
        found.append(Evaluated(int(row["batch"]), point, None if failed else float(row["speed"]), excess))
    return found


def trajectory(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of `read_points` with what each seed had found by then.

    Added: `number`, counted from 1 in each seed, failed points too; `best_objective`, the least so far; `best_speed`,
    the most speed of a feasible point so far. The last two are NaN before there is one.
    """
    feasible_speed = rows["speed"].where(rows["feasible"].eq(True))
    seed = rows["seed"]
    return rows.assign(
        number=rows.groupby("seed").cumcount() + 1,
        best_objective=rows["objective"].groupby(seed).cummin().groupby(seed).ffill(),
        best_speed=feasible_speed.groupby(seed).cummax().groupby(seed).ffill(),
    )
