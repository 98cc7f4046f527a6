"""Rule assess_model: an untouched model's quality against chance, and the balance of its experts."""

from pathlib import Path

import torch

from switchyard.artifacts.files import read_json, read_table, write_json
from switchyard.artifacts.stamps import stamp
from switchyard.evaluation.assessment import assess
from switchyard.evaluation.experiment import count_sequences
from switchyard.models.load import folder_digest, load_model, load_tokenizer
from switchyard.runtime.log import logged
from switchyard.runtime.progress import bar


def main(
    *,
    name: str,
    model: Path,
    dtype: str,
    datasets: dict[str, Path],
    max_length: dict[str, int],
    samples: int,
    batch_tokens: int,
    gpu_mem_gb: int,
    output: Path,
    code: str,
) -> None:
    tables = {dataset: read_table(path) for dataset, path in datasets.items()}
    total = sum(count_sequences(table, samples) for table in tables.values())
    with bar(total, f"assess_model {name}", unit="sequences") as progress:
        found = assess(
            load_model(model, dtype=dtype, gpu_mem_gb=gpu_mem_gb),
            load_tokenizer(model),
            tables,
            structure=read_json(model / "structure.json"),
            max_length=max_length,
            samples=samples,
            batch_tokens=batch_tokens,
            progress=progress.update,
        )
    settings = {"dtype": dtype, "max_length": max_length, "samples": samples, "batch_tokens": batch_tokens}
    made = stamp(code=code, config=settings, inputs={"model": folder_digest(model), **datasets})
    write_json(output, {"model": name, **found, "provenance": made})


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        torch.set_num_threads(snakemake.params.threads)
        main(
            name=snakemake.wildcards.model,
            model=Path(snakemake.input.model),
            dtype=snakemake.params.dtype,
            datasets=dict(zip(snakemake.params.datasets, map(Path, snakemake.input.datasets))),
            max_length=snakemake.params.datasets,
            samples=snakemake.params.samples,
            batch_tokens=snakemake.params.batch_tokens,
            gpu_mem_gb=snakemake.resources.gpu_mem_gb,
            output=Path(snakemake.output[0]),
            code=snakemake.params.code,
        )
