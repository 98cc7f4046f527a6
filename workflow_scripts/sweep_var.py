"""Rule sweep_var: model + routing table + text -> coverage, loss and cost over VAR's thresholds, and of controls."""

from pathlib import Path
from typing import Any

import torch

from switchyard.artifacts.files import read_json, read_table, write_table
from switchyard.artifacts.stamps import stamp
from switchyard.evaluation.sequences import build_samples
from switchyard.models.load import folder_digest, load_model, load_tokenizer
from switchyard.runtime.log import logged
from switchyard.runtime.progress import bar
from switchyard.var.evaluation import draw_samples
from switchyard.var.grid import Grid
from switchyard.var.sweep import Observed, sweep


def main(
    *,
    name: str,
    model: Path,
    table: Path,
    counts: Path,
    text: Path,
    output: Path,
    settings: dict[str, Any],
    dataset: dict[str, Any],
    tokens_per_second: float,
    dtype: str,
    gpu_mem_gb: int,
    code: str,
) -> None:
    loaded, tokenizer = load_model(model, dtype=dtype, gpu_mem_gb=gpu_mem_gb), load_tokenizer(model)
    observed = Observed(read_table(table), read_table(counts), read_json(model / "structure.json"))
    grid = Grid.of(settings)
    samples = read_table(text)
    windows = build_samples(samples, tokenizer, max_length=dataset["max_length"])
    drawn = draw_samples(windows, settings["samples"], settings["seed"])
    with bar(grid.count(observed.structure["top_k"]), f"sweep_var {name}", unit="points") as progress:
        found = sweep(
            loaded,
            tokenizer,
            samples,
            drawn,
            observed,
            grid,
            batch_tokens=settings["batch_tokens"],
            tokens_per_second=tokens_per_second,
            progress=progress.update,
        )
    made = stamp(
        code=code,
        config={
            "sweep": settings,
            "dataset": dataset,
            "tokens_per_second": tokens_per_second,
            "dtype": dtype,
        },
        inputs={"model": folder_digest(model), "table": table, "counts": counts, "dataset": text},
        model={"name": name},
    )
    write_table(output, found, made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        torch.set_num_threads(snakemake.threads)
        main(
            name=snakemake.wildcards.model,
            model=Path(snakemake.input.model),
            table=Path(snakemake.input.table),
            counts=Path(snakemake.input.counts),
            text=Path(snakemake.input.text),
            output=Path(snakemake.output[0]),
            settings=snakemake.params.settings,
            dataset=snakemake.params.dataset,
            tokens_per_second=snakemake.params.tokens_per_second,
            dtype=snakemake.params.dtype,
            gpu_mem_gb=snakemake.resources.gpu_mem_gb,
            code=snakemake.params.code,
        )
