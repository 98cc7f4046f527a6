"""The assessment of an untouched model, from files to a file, in a worker or in the job's own process."""

from __future__ import annotations

from pathlib import Path

import torch

from switchyard.artifacts.files import read_json, read_table, write_json
from switchyard.artifacts.stamps import stamp
from switchyard.evaluation.assessment import assess
from switchyard.evaluation.experiment import count_sequences
from switchyard.models.kept import load_kept
from switchyard.runtime.progress import bar


def assessment(
    *,
    name: str,
    model: str,
    datasets: dict[str, str],
    max_length: dict[str, int],
    output: str,
    dtype: str,
    samples: int,
    batch_tokens: int,
    threads: int,
    gpu_mem_gb: int,
    code: str,
) -> None:
    """Write a model's quality against chance and the balance of its experts (`evaluation.assessment.assess`) as JSON.

    Args:
        name: of the model.
        model: its folder.
        datasets: prepared datasets by name.
        max_length: tokens of a sequence, by dataset.
        output: the file to write.
        samples, batch_tokens: see `evaluation.assessment.assess`.
        gpu_mem_gb: what the process leases of a card, if there is one.
        code: fingerprint of the library code.

    Raises:
        InputError: the model cannot be used.
    """
    torch.set_num_threads(threads)
    folder, tables = Path(model), {dataset: read_table(path) for dataset, path in datasets.items()}
    sizes = {"max_length": max_length, "samples": samples, "batch_tokens": batch_tokens}
    total = sum(count_sequences(table, samples) for table in tables.values())
    with bar(total, f"assess_model {name}", unit="sequences") as progress:
        loaded = load_kept(folder, dtype, gpu_mem_gb)
        found = assess(
            loaded.model,
            loaded.tokenizer,
            tables,
            structure=read_json(folder / "structure.json"),
            **sizes,
            progress=progress.update,
        )
    made = stamp(code=code, config={"dtype": dtype, **sizes}, inputs={"model": loaded.digest, **datasets})
    write_json(Path(output), {"model": name, **found, "provenance": made})
