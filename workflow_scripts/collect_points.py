"""Rule collect_points: files of points -> trajectory, frontier and best configuration of a method."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from switchyard.artifacts.files import read_json, write_json, write_table, write_text
from switchyard.artifacts.stamps import attach_to, stamp
from switchyard.runtime.log import logged
from switchyard.search.findings import best_config, pareto
from switchyard.search.points import read_points, trajectory
from switchyard.search.spaces import BH, made_spaces


def main(
    *,
    points: list[Path],
    model: Path,
    reads: dict[str, str],
    outputs: dict[str, Path],
    spaces: dict[str, dict[str, Any]],
    limit: float,
    code: str,
) -> None:
    found = made_spaces(spaces, read_json(model / "structure.json"), reads)
    inputs = {"/".join(path.parts[-3:]): path for path in points} | reads
    made = stamp(
        code=code, config={"spaces": spaces, "limit": limit}, inputs=inputs, model={"name": model.name}
    )
    rows = trajectory(read_points(points, found))
    write_table(outputs["trajectory"], pa.Table.from_pandas(rows, preserve_index=False), {"provenance": made})
    for name, table in (("table", rows), ("pareto", pareto(rows))):
        write_text(outputs[name], table.to_csv(index=False))
        attach_to(outputs[name], made)
    of_var = [one for one in found if one.name != BH]
    best = best_config(
        rows[rows["space"] != BH],
        of_var,
        max_quality_degradation=limit,
        routing_stats_path=reads["routing_table"],
    )
    write_json(outputs["best"], {**best, "provenance": made})


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            points=[Path(path) for path in snakemake.input.points],
            model=Path(snakemake.input.model),
            reads=snakemake.params.reads,
            outputs={name: Path(path) for name, path in snakemake.output.items()},
            spaces=snakemake.params.spaces,
            limit=snakemake.params.limit,
            code=snakemake.params.code,
        )
