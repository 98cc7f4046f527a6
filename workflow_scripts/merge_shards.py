"""Rule merge_shards: the counts of all shards -> tables of routing statistics, counts and analyses."""

from pathlib import Path

from switchyard.artifacts.files import read_json, write_json
from switchyard.artifacts.stamps import sha256_file, sha256_json, stamp
from switchyard.models.load import load_tokenizer
from switchyard.observation.counted import counters
from switchyard.observation.memory import memory_profile
from switchyard.observation.published import publish
from switchyard.observation.shards import merge_shards
from switchyard.observation.windows import Windows
from switchyard.runtime.log import logged


def main(
    *,
    name: str,
    corpus: str,
    shards: list[Path],
    memory: list[Path],
    windows: Path,
    model: Path,
    segments: list[int],
    output: dict[str, Path],
    code: str,
) -> None:
    samples = [read_json(path) for path in memory]
    inputs = {"windows": windows, "shards": sha256_json([sha256_file(path) for path in shards])}
    made = stamp(
        code=code, config={"segments": segments, "corpus": corpus}, inputs=inputs, model={"name": name}
    )
    write_json(output["memory"], {"model": name, **memory_profile(samples), "provenance": made})
    publish(
        merge_shards(shards, counters=counters(segments)),
        load_tokenizer(model),
        {key: path for key, path in output.items() if key != "memory"},
        made,
        model=name,
        corpus=f"{corpus} (offline side)",
        shards=len(shards),
        batches=Windows(windows).batches,
    )


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.model,
            corpus=snakemake.params.corpus,
            shards=[Path(path) for path in snakemake.input.shards],
            memory=[Path(path) for path in snakemake.input.memory],
            windows=Path(snakemake.input.windows),
            model=Path(snakemake.input.model),
            segments=snakemake.params.segments,
            output={
                name: Path(snakemake.output[name])
                for name in ("memory", "statistics", "csv", "counts", "contexts", "summary")
            }
            | {Path(path).stem: Path(path) for path in snakemake.output.analyses},
            code=snakemake.params.code,
        )
