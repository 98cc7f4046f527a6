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
    configurations: list[dict[str, Any]],
    kinds: dict[str, str],
    speed: list[Path],
    models: list[Path],
    database: Path,
    dictionary: Path,
    code: str,
) -> None:
    described = {(one["model"], one["config"]): one for one in configurations}
    experiments = []
    for own in files:
        head = read_stamp(own["scores"])
        more = described[head["model"], head["config"]]
        experiments.append({**head, **own, **more, "kind": kinds[head["dataset"]]})
    measured = {f"{one['model']}/{one['config']}_{one['dataset']}": one["provenance"] for one in experiments}
    speeds = [read_json(path) for path in speed]
    inputs = {
        "experiments": sha256_json(measured),
        "speed_code": sha256_json([one["provenance"]["code"] for one in speeds]),
    }
    settings = {"configurations": configurations, "kinds": kinds}
    made = stamp(code=code, config=settings, inputs=inputs)
    with bar(len(experiments), "build_warehouse", unit="experiments") as progress:
        build(
            database,
            experiments=experiments,
            speed_rows=[row for one in speeds for row in one["rows"]],
            structures={model.name: read_json(model / "structure.json") for model in models},
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
            configurations=snakemake.params.configurations,
            kinds=snakemake.params.kinds,
            speed=[Path(path) for path in given.speed],
            models=[Path(path) for path in given.models],
            database=Path(snakemake.output.database),
            dictionary=Path(snakemake.output.dictionary),
            code=snakemake.params.code,
        )
