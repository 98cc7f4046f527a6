"""Rule merge_shards: the counts of all shards -> tables of routing statistics, counts and analyses."""

from pathlib import Path

import pyarrow.csv

from switchyard.artifacts.files import atomic, write_table, write_text
from switchyard.artifacts.stamps import attach_to, sha256_file, sha256_json, stamp
from switchyard.models.load import load_tokenizer
from switchyard.observation.counted import tallies
from switchyard.observation.shards import merge_shards
from switchyard.observation.statistics import lists_as_json
from switchyard.observation.summary import kept_contexts, summary_text
from switchyard.observation.windows import Windows
from switchyard.runtime.log import logged


def main(
    *,
    name: str,
    corpus: str,
    shards: list[Path],
    windows: Path,
    model: Path,
    segments: list[int],
    output: dict[str, Path],
    analyses: list[Path],
    code: str,
) -> None:
    seen = merge_shards(shards, tallies=tallies(segments))
    tokenizer = load_tokenizer(model)
    inputs = {"windows": windows, "shards": sha256_json([sha256_file(path) for path in shards])}
    made = stamp(
        code=code, config={"segments": segments, "corpus": corpus}, inputs=inputs, model={"name": name}
    )
    made = {"provenance": made, "totals": dict(seen.totals), "num_experts": seen.statistics.num_experts}
    table = seen.statistics.table(lambda token: tokenizer.decode([token]))
    write_table(output["statistics"], table, made)
    with atomic(output["csv"]) as partial:
        pyarrow.csv.write_csv(lists_as_json(table), partial)
    write_table(output["counts"], seen.statistics.counts(), made)
    kept = {str(context): share for context, share in kept_contexts(seen).items()}
    write_table(output["contexts"], seen.ngrams.table(), {**made, "kept": kept})
    for path in analyses:
        write_table(path, seen.tallies[path.stem].table(), made)
    names = dict(zip(table["token_id"].to_pylist(), table["token_str"].to_pylist()))
    batches = Windows(windows).batches
    text = summary_text(seen, names, model=name, corpus=corpus, shards=len(shards), batches=batches)
    write_text(output["summary"], text)
    for path in (output["csv"], output["summary"]):
        attach_to(path, made["provenance"])


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.model,
            corpus=snakemake.params.corpus,
            shards=[Path(path) for path in snakemake.input.shards],
            windows=Path(snakemake.input.windows),
            model=Path(snakemake.input.model),
            segments=snakemake.params.segments,
            output={
                name: Path(snakemake.output[name])
                for name in ("statistics", "csv", "counts", "contexts", "summary")
            },
            analyses=[Path(path) for path in snakemake.output.analyses],
            code=snakemake.params.code,
        )
