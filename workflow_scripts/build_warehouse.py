"""Rule build_warehouse: scores, traces and speed -> the study's database."""

from pathlib import Path
from typing import Any

from switchyard.artifacts.files import read_json, read_stamp, write_text
from switchyard.artifacts.stamps import attach_to, sha256_json, stamp
from switchyard.runtime.log import logged
from switchyard.runtime.progress import bar
from switchyard.warehouse.build import build
from switchyard.warehouse.documentation import describe_warehouse


def main(
    *,
    files: list[dict[str, Path]],
    told: list[dict[str, Any]],
    speed: Path,
    structure: Path,
    database: Path,
    dictionary: Path,
    code: str,
) -> None:
    experiments = [{**read_stamp(own["scores"]), **own, **more} for own, more in zip(files, told)]
    measured = {f"{one['config']}_{one['dataset']}": one["provenance"] for one in experiments}
    inputs = {"experiments": sha256_json(measured), "speed_code": read_json(speed)["provenance"]["code"]}
    made = stamp(code=code, config=told, inputs=inputs, model=experiments[0]["provenance"]["model"])
    with bar(len(experiments), "build_warehouse", unit="experiments") as progress:
        build(
            database,
            experiments=experiments,
            speed_rows=read_json(speed)["rows"],
            structure=read_json(structure),
            study_folder=database.parent,
            stamp=made,
            progress=lambda done, total: progress.update(1),
        )
    write_text(dictionary, describe_warehouse(database))
    attach_to(dictionary, made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        given = snakemake.input
        columns = {
            "scores": given.scores,
            "trace": given.traces,
            "scores_repeat": given.scores_repeat,
            "trace_repeat": given.traces_repeat,
        }
        main(
            files=[dict(zip(columns, map(Path, paths))) for paths in zip(*columns.values())],
            told=snakemake.params.told,
            speed=Path(given.speed),
            structure=Path(given.model) / "structure.json",
            database=Path(snakemake.output.database),
            dictionary=Path(snakemake.output.dictionary),
            code=snakemake.params.code,
        )
