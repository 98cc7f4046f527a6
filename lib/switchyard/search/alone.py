"""A search without a study: a model and a text of one's own, with a journal from which the same command resumes.

`points/{n}.parquet` in the output folder are the journal, in the format of a study; `search.json` says what they belong
to, and another search into the same folder is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from switchyard.artifacts.files import read_json, write_json, write_table, write_text
from switchyard.artifacts.stamps import attach_to
from switchyard.errors import InputError
from switchyard.runtime.progress import bar
from switchyard.search.batches import Batch, run_batch
from switchyard.search.findings import best, best_config, pareto
from switchyard.search.points import point_of, read_points, trajectory
from switchyard.search.sensitivity import sensitivities
from switchyard.search.setup import Ready
from switchyard.search.space import Space
from switchyard.search.spaces import BH

WHAT = "search.json"


@dataclass(frozen=True)
class Budget:
    """How a search chooses its points.

    Raises:
        InputError: the points are no whole number of batches.
    """

    method: str
    seed: int
    calls: int
    batch: int
    """Points that are asked for at once; divides `calls`."""

    def __post_init__(self) -> None:
        if self.calls % self.batch:
            raise InputError(
                f"search: --n-calls {self.calls} is no multiple of --batch {self.batch}; change one of them"
            )


def journal(folder: Path, what: dict[str, Any]) -> None:
    """Begin or go on with the search of a folder.

    Raises:
        InputError: the folder holds another search.
    """
    path = folder / WHAT
    if not path.is_file():
        if any(folder.glob("points/*.parquet")):
            raise InputError(f"{folder}: has points of a search without {WHAT}; give another folder")
        write_json(path, what)
    elif other := [name for name in what if read_json(path).get(name) != what[name]]:
        raise InputError(
            f"{path}: is of a search with another {other[0].replace('_', ' ')}; give another folder, or the same search"
        )


def run(
    ready: Ready, spaces: Sequence[Space], budget: Budget, folder: Path, stamp: dict[str, Any]
) -> pd.DataFrame:
    """Evaluate the batches that the folder lacks, in order; returns all rows as a trajectory."""
    batches = budget.calls // budget.batch
    paths = [folder / "points" / f"{number}.parquet" for number in range(batches)]
    per_batch = budget.batch * len(spaces)
    with bar(budget.calls * len(spaces), f"search {budget.method}", unit="points") as progress:
        for number, path in enumerate(paths):
            if path.is_file():
                progress.update(per_batch)
                continue
            batch = Batch(budget.method, budget.seed, number, budget.batch)
            run_batch(ready, spaces, batch, paths[:number], path, stamp=stamp, progress=progress.update)
    return trajectory(read_points(paths, spaces))


def write_findings(
    folder: Path,
    rows: pd.DataFrame,
    spaces: Sequence[Space],
    *,
    limit: float,
    routing_stats: Path | None,
    stamp: dict[str, Any],
) -> None:
    """`trajectory.{parquet,csv}, pareto.csv, sensitivity.parquet`, `best_config.json` of VAR, `best_bh.json` of BH."""
    made = {"provenance": stamp}
    write_table(folder / "trajectory.parquet", pa.Table.from_pandas(rows, preserve_index=False), made)
    for name, table in (("trajectory.csv", rows), ("pareto.csv", pareto(rows))):
        write_text(folder / name, table.to_csv(index=False))
        attach_to(folder / name, stamp)
    table = pa.Table.from_pandas(sensitivities([rows], spaces), preserve_index=False)
    write_table(folder / "sensitivity.parquet", table, made)
    of_var = [one for one in spaces if one.name != BH]
    if of_var:
        path = None if routing_stats is None else str(routing_stats)
        own = rows[rows["space"] != BH]
        found = best_config(own, of_var, max_quality_degradation=limit, routing_stats_path=path)
        write_json(folder / "best_config.json", {**found, **made})
    for space in spaces:
        if space.name == BH:
            row = best(rows[rows["space"] == BH])
            settings = None if row is None else space.settings(point_of(row, space))
            content = {"rule": "bh", "settings": settings, "max_quality_degradation": limit, **made}
            write_json(folder / "best_bh.json", content)


def described(budget: Budget, **others: Any) -> dict[str, Any]:
    """What makes two searches the same, but for how many points are asked."""
    return {**{name: value for name, value in asdict(budget).items() if name != "calls"}, **others}
