"""VAR's sweep from files to a file, in a worker or in the job's own process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from switchyard.artifacts.files import read_json, read_table, write_table
from switchyard.artifacts.stamps import stamp
from switchyard.evaluation.sequences import build_samples
from switchyard.models.kept import load_kept
from switchyard.runtime.progress import bar
from switchyard.var.evaluation import draw_samples
from switchyard.var.grid import Grid
from switchyard.var.sweep import Observed, sweep


def sweep_var(
    *,
    name: str,
    model: str,
    table: str,
    counts: str,
    text: str,
    output: str,
    settings: dict[str, Any],
    dataset: dict[str, Any],
    tokens_per_second: float,
    dtype: str,
    threads: int,
    gpu_mem_gb: int,
    code: str,
) -> None:
    """Write coverage, loss and cost over VAR's thresholds, and of controls (`var.sweep.sweep`).

    Args:
        name: of the model.
        model: its folder.
        table: its routing table.
        counts: its observed expert counts.
        text: prepared samples of running text.
        output: the file to write.
        settings: `var.sweep` of the study, and `batch_tokens`.
        dataset: the entry of the text, with its `max_length`.
        tokens_per_second: that the study states for the cost of a look-up.
        gpu_mem_gb: what the process leases of a card, if there is one.
        code: fingerprint of the library code.

    Raises:
        InputError: the model or its table cannot be used.
    """
    torch.set_num_threads(threads)
    folder, samples = Path(model), read_table(text)
    loaded = load_kept(folder, dtype, gpu_mem_gb)
    observed = Observed(read_table(table), read_table(counts), read_json(folder / "structure.json"))
    grid = Grid.of(settings)
    windows = build_samples(samples, loaded.tokenizer, max_length=dataset["max_length"])
    drawn = draw_samples(windows, settings["samples"], settings["seed"])
    with bar(grid.count(observed.structure["top_k"]), f"sweep_var {name}", unit="points") as progress:
        found = sweep(
            loaded.model,
            loaded.tokenizer,
            samples,
            drawn,
            observed,
            grid,
            batch_tokens=settings["batch_tokens"],
            tokens_per_second=tokens_per_second,
            progress=progress.update,
        )
    asked = {"sweep": settings, "dataset": dataset, "tokens_per_second": tokens_per_second, "dtype": dtype}
    inputs = {"model": loaded.digest, "table": table, "counts": counts, "dataset": text}
    write_table(Path(output), found, stamp(code=code, config=asked, inputs=inputs, model={"name": name}))
