"""Rule compare_code: scores of all configurations on a set of problems -> each against the trained top-k, paired."""

from pathlib import Path

from switchyard.artifacts.files import read_json, write_json
from switchyard.artifacts.stamps import sha256_json, stamp
from switchyard.runtime.log import logged
from switchyard.statistics.solved import compare_solved


def main(*, model: str, task: str, scores: list[Path], output: Path, code: str) -> None:
    read = [read_json(path) for path in scores]
    inputs = {"scores": sha256_json([one["provenance"] for one in read])}
    made = stamp(code=code, config={"task": task}, inputs=inputs, model={"name": model})
    write_json(output, {"model": model, "task": task, **compare_solved(read), "provenance": made})


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            model=snakemake.wildcards.model,
            task=snakemake.wildcards.task,
            scores=[Path(path) for path in snakemake.input],
            output=Path(snakemake.output[0]),
            code=snakemake.params.code,
        )
