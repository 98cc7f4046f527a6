"""VAR's evaluation from files to files, in whichever process."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import torch

from switchyard.artifacts.files import read_table, write_json
from switchyard.artifacts.stamps import stamp
from switchyard.evaluation.sequences import build_samples
from switchyard.models.kept import load_kept
from switchyard.runtime.progress import bar
from switchyard.text.kinds import kind_of
from switchyard.var.evaluation import cache_simulation, draw_samples, evaluate, identified
from switchyard.var.router import VARRouter


def evaluate_var(
    *,
    name: str,
    model: str,
    table: str,
    datasets: dict[str, str],
    outputs: list[str],
    configs: dict[str, dict[str, Any]],
    var: dict[str, Any],
    dtype: str,
    batch_tokens: int,
    threads: int,
    gpu_mem_gb: int,
    code: str,
) -> None:
    """Write quality, throughput and paths of the untouched model and of each configuration, dataset and seed.

    Args:
        name: of the model.
        model: its folder.
        table: its routing table.
        datasets: prepared datasets by name.
        outputs: a file for each configuration (`baseline` first), dataset and seed, the last changing fastest.
        configs: fields of a VARConfig by configuration.
        var: `datasets` with their `max_length`, `samples`, `seeds` and `tokens_per_second` of the study.
        batch_tokens: see `var.evaluation.evaluate`.
        gpu_mem_gb: what the process leases of a card, if there is one.
        code: fingerprint of the library code.

    Raises:
        InputError: the model or its table cannot be used.
    """
    torch.set_num_threads(threads)
    loaded, texts = load_kept(Path(model), dtype, gpu_mem_gb), {}
    for dataset, path in datasets.items():
        rows = read_table(path)
        length = var["datasets"][dataset]["max_length"]
        texts[dataset] = kind_of(rows), build_samples(rows, loaded.tokenizer, max_length=length)
    runs = product({"baseline": None, **configs}.items(), var["datasets"].items(), var["seeds"])
    with bar(len(outputs), f"evaluate_var {name}", unit="runs") as progress:
        for ((config, settings), (dataset, entry), seed), place in zip(runs, outputs, strict=True):
            rule = None
            if settings is not None:
                settings = {**settings, "tokens_per_second": var["tokens_per_second"]}
                rule = VARRouter.from_study(settings, {"routing_table": Path(table)})
            asked = {"max_length": entry["max_length"], "samples": var["samples"], "seed": seed}
            kind, samples = texts[dataset]
            drawn = draw_samples(samples, var["samples"], seed)
            given = (loaded.model, loaded.tokenizer, rule, kind, drawn)
            found = evaluate(*given, batch_tokens=batch_tokens)
            if rule and (dataset, seed) == (next(iter(texts)), var["seeds"][0]):
                found["cache_simulation"] = cache_simulation(*given, batch_tokens=batch_tokens)
            made = stamp(
                code=code,
                config={**asked, "config": config, "settings": settings, "dataset": entry, "dtype": dtype},
                inputs={"model": loaded.digest, "table": table, "dataset": datasets[dataset]},
                model={"name": name, "dtype": dtype},
            )
            write_json(Path(place), identified(found, config, name, dataset, seed, rule, made))
            progress.update(1)
