"""The tables of a search: a file per batch of evaluated points, and all of them as one trajectory.

A file holds a batch of one seed in each of the searched spaces. Its columns are `batch, seed, space, place, decisions`,
the settings and dimensions of all spaces, null where a space has none of that name, and the fields of `Outcome`. The
rows of a space are its points in the order in which they were asked, which is what the next batch is asked from.
`decisions` says which points are known to decide alike (`switchyard.search.decisions`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from switchyard.artifacts.files import read_table, write_table
from switchyard.errors import InputError
from switchyard.search.methods import Evaluated
from switchyard.search.objective import Outcome
from switchyard.search.space import Point, Space

_TYPES = {"integer": pa.int64(), "real": pa.float64(), "categorical": pa.string()}
_PLACE = {
    "batch": pa.int32(),
    "seed": pa.int64(),
    "space": pa.string(),
    "place": pa.int32(),
    "decisions": pa.string(),
}
_OUTCOME = {
    "quality": pa.float64(),
    "speed": pa.float64(),
    "degradation": pa.float64(),
    "feasible": pa.bool_(),
    "objective": pa.float64(),
    "acting_share": pa.float64(),
    "failed": pa.string(),
}
OUTCOME = tuple(_OUTCOME)
"""Columns that say what a point is worth."""


class Judged(NamedTuple):
    """A point of a space and what it is worth."""

    space: Space
    point: Point
    decisions: str
    outcome: Outcome


def schema(spaces: Sequence[Space]) -> pa.Schema:
    """Columns of a file of points.

    Raises:
        InputError: a dimension has the name of another column, or another kind in another space.
    """
    parameters: dict[str, pa.DataType] = {}
    for space in spaces:
        own = {quantiles.setting: pa.float64() for quantiles in space.quantiles.values()}
        own |= {one.name: _TYPES[one.kind] for one in space.dimensions}
        for name, kind in own.items():
            if name in _PLACE or name in _OUTCOME:
                raise InputError(
                    f"search space {space.name}: a dimension is named {name}, as a column; rename it"
                )
            if parameters.setdefault(name, kind) != kind:
                raise InputError(
                    f"search space {space.name}: {name} has another kind in another space; use the same"
                )
    return pa.schema({**_PLACE, **parameters, **_OUTCOME})


def write_points(
    path: str | Path,
    spaces: Sequence[Space],
    judged: Sequence[Judged],
    *,
    batch: int,
    seed: int,
    stamp: Mapping[str, Any] | None = None,
) -> None:
    """Write `points/{batch}.parquet`: the points of a batch, in the order asked, and what each is worth."""
    asked = dict.fromkeys((space.name for space in spaces), 0)
    rows = []
    for one in judged:
        name = one.space.name
        row = {"batch": batch, "seed": seed, "space": name, "place": asked[name], "decisions": one.decisions}
        rows.append({**row, **one.space.settings(one.point), **one.point, **asdict(one.outcome)})
        asked[name] += 1
    table = pa.Table.from_pylist(rows, schema=schema(spaces))
    write_table(path, table, None if stamp is None else {"provenance": dict(stamp)})


def read_points(paths: Iterable[str | Path], spaces: Sequence[Space]) -> pd.DataFrame:
    """All rows of some files, by space, seed, batch and place, whatever the order of the files.

    Raises:
        InputError: a file is damaged, or was made for other spaces.
    """
    wanted, tables = schema(spaces), []
    for path in paths:
        table = read_table(path)
        if not table.schema.equals(wanted):
            named = ", ".join(space.name for space in spaces)
            raise InputError(
                f"{path}: its columns are not those of the search space {named}; make the points again"
            )
        tables.append(table.replace_schema_metadata(None))
    rows = (pa.concat_tables(tables) if tables else wanted.empty_table()).to_pandas()
    order = {space.name: place for place, space in enumerate(spaces)}
    keys = ["space", "seed", "batch", "place"]
    return rows.sort_values(keys, key=lambda one: one.map(order) if one.name == "space" else one).reset_index(
        drop=True
    )


def evaluated(rows: pd.DataFrame, space: Space, max_quality_degradation: float) -> list[Evaluated]:
    """The points of a space and one seed as the next batch is asked from them; a failed one has no numbers.

    Raises:
        InputError: rows of several seeds, which are searches of their own.
    """
    rows = rows[rows["space"] == space.name]
    if rows["seed"].nunique() > 1:
        raise InputError(
            "search: a batch is asked from the points of one seed; read the files of that seed alone"
        )
    found = []
    for row in rows.to_dict("records"):
        failed = pd.isna(row["objective"])
        excess = None if failed else math.log1p(row["degradation"]) - math.log1p(max_quality_degradation)
        speed = None if failed else float(row["speed"])
        found.append(Evaluated(int(row["batch"]), point_of(row, space), speed, excess))
    return found


def point_of(row: Mapping[str, Any], space: Space) -> Point:
    """The point that a row of a table of points was asked as."""
    return {one.name: one.nearest(row[one.name]) for one in space.dimensions}


def known_outcomes(rows: pd.DataFrame) -> dict[str, Outcome]:
    """What points that decide alike are worth, by `decisions`."""
    named = rows[list(OUTCOME)].astype(object).where(rows[list(OUTCOME)].notna(), None)
    return {key: Outcome(**one) for key, one in zip(rows["decisions"], named.to_dict("records"), strict=True)}


def trajectory(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of `read_points` with what each seed had found in each space by then.

    Added: `number`, counted from 1 in each seed and space, failed points too; `best_objective`, the least so far;
    `best_speed`, the most speed of a feasible point so far. The last two are NaN before there is one.
    """
    search = [rows["space"], rows["seed"]]
    feasible_speed = rows["speed"].where(rows["feasible"].eq(True))
    return rows.assign(
        number=rows.groupby(search).cumcount() + 1,
        best_objective=rows["objective"].groupby(search).cummin().groupby(search).ffill(),
        best_speed=feasible_speed.groupby(search).cummax().groupby(search).ffill(),
    )
