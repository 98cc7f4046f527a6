"""Rule evaluate_var: model + routing table + text -> quality, throughput and paths, with and without VAR.

Not in a worker: throughput and peak memory are of this process alone.
"""

from itertools import product
from pathlib import Path
from typing import Any

import torch

from switchyard.artifacts.files import read_table, write_json
from switchyard.artifacts.stamps import stamp
from switchyard.evaluation.sequences import build_samples
from switchyard.models.load import folder_digest, load_model, load_tokenizer
from switchyard.runtime.log import logged
from switchyard.runtime.progress import bar
from switchyard.text.kinds import kind_of
from switchyard.var.evaluation import cache_simulation, draw_samples, evaluate, identified
from switchyard.var.router import VARRouter


def main(
    *,
    name: str,
    model: Path,
    table: Path,
    datasets: dict[str, Path],
    outputs: list[Path],
    configs: dict[str, dict[str, Any]],
    var: dict[str, Any],
    dtype: str,
    batch_tokens: int,
    gpu_mem_gb: int,
    code: str,
) -> None:
    loaded, tokenizer = load_model(model, dtype=dtype, gpu_mem_gb=gpu_mem_gb), load_tokenizer(model)
    texts = {}
    for dataset, path in datasets.items():
        rows = read_table(path)
        length = var["datasets"][dataset]["max_length"]
        texts[dataset] = kind_of(rows), build_samples(rows, tokenizer, max_length=length)
    digest = folder_digest(model)
    runs = product({"baseline": None, **configs}.items(), var["datasets"].items(), var["seeds"])
    with bar(len(outputs), f"evaluate_var {name}", unit="runs") as progress:
        for ((config, settings), (dataset, entry), seed), place in zip(runs, outputs, strict=True):
            rule = None
            if settings is not None:
                settings = {**settings, "tokens_per_second": var["tokens_per_second"]}
                rule = VARRouter.from_study(settings, {"routing_table": table})
            asked = {"max_length": entry["max_length"], "samples": var["samples"], "seed": seed}
            kind, samples = texts[dataset]
            given = (loaded, tokenizer, rule, kind, draw_samples(samples, var["samples"], seed))
            found = evaluate(*given, batch_tokens=batch_tokens)
            if rule and (dataset, seed) == (next(iter(texts)), var["seeds"][0]):
                found["cache_simulation"] = cache_simulation(*given, batch_tokens=batch_tokens)
            made = stamp(
                code=code,
                config={**asked, "config": config, "settings": settings, "dataset": entry, "dtype": dtype},
                inputs={"model": digest, "table": table, "dataset": datasets[dataset]},
                model={"name": name, "dtype": dtype},
            )
            write_json(place, identified(found, config, name, dataset, seed, rule, made))
            progress.update(1)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        torch.set_num_threads(snakemake.threads)
        names = snakemake.params.var["datasets"]
        main(
            name=snakemake.wildcards.model,
            model=Path(snakemake.input.model),
            table=Path(snakemake.input.table),
            datasets=dict(zip(names, map(Path, snakemake.input.datasets), strict=True)),
            outputs=[Path(path) for path in snakemake.output],
            configs=snakemake.params.configs,
            var=snakemake.params.var,
            dtype=snakemake.params.dtype,
            batch_tokens=snakemake.params.batch_tokens,
            gpu_mem_gb=snakemake.resources.gpu_mem_gb,
            code=snakemake.params.code,
        )
