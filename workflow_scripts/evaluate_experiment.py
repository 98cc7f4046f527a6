"""Rule evaluate_experiment: model + dataset + routing rule -> trace, scores, their repeats, internal log."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from switchyard.evaluation.experiment import REPEAT_SAMPLES
from switchyard.evaluation.run import Files, write_experiment
from switchyard.files import read_json
from switchyard.job import logged
from switchyard.models.load import folder_digest, load_model, load_tokenizer
from switchyard.progress import bar
from switchyard.provenance import stamp
from switchyard.study import build_rule, experiment_head


def sequences(table: pa.Table, samples: int) -> int:
    """Sequences of an experiment and its repeat, for the progress bar."""
    each = len(table["options"][0]) if "options" in table.column_names else 1
    return each * (samples + min(samples, REPEAT_SAMPLES))


def main(
    *,
    identity: dict[str, Any],
    model: Path,
    dtype: str,
    dataset: Path,
    nulls: Path | None,
    files: Files,
    max_length: int,
    samples: int,
    run: dict[str, Any],
    code: str,
) -> None:
    torch.set_num_threads(run["threads"])
    structure = read_json(model / "structure.json")
    head = experiment_head(**identity, structure=structure)
    rule = build_rule(identity["setting"], nulls)
    settings = {**identity, "dtype": dtype, "max_length": max_length, "samples": samples, **run}
    inputs = {"model": folder_digest(model), "dataset": dataset, **({"nulls": nulls} if nulls else {})}
    head["provenance"] = stamp(
        code=code, config=settings, inputs=inputs, model={"name": identity["model"], "dtype": dtype}
    )
    table = pq.read_table(dataset)
    with bar(sequences(table, samples), f"{head['config']} {head['dataset']}", unit="sequences") as progress:
        write_experiment(
            load_model(model, dtype=dtype),
            load_tokenizer(model),
            rule,
            table,
            files,
            head=head,
            nulls=getattr(rule, "null", None),
            study_folder=files.trace.parents[2],
            max_length=max_length,
            samples=samples,
            batch_tokens=run["batch_tokens"],
            keep_logits=run["keep_logits"],
            spelled_out_samples=run["spelled_out_samples"],
            progress=progress.update,
        )


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            identity={
                "study": snakemake.params.study,
                "model": snakemake.params.model,
                "setting": snakemake.params.setting,
                "dataset": snakemake.wildcards.dataset,
            },
            model=Path(snakemake.input.model),
            dtype=snakemake.params.dtype,
            dataset=Path(snakemake.input.dataset),
            nulls=next(map(Path, snakemake.input.get("nulls", [])), None),
            files=Files(*map(Path, snakemake.output)),
            max_length=snakemake.params.max_length,
            samples=snakemake.params.samples,
            run=snakemake.params.run,
            code=snakemake.params.code,
        )
