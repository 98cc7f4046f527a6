"""Rule measure_saturation: kept weights of a training -> how much of the final routing each had already."""

from pathlib import Path

import torch

from switchyard.artifacts.files import read_json, write_table
from switchyard.artifacts.stamps import stamp
from switchyard.models.load import folder_digest, load_model
from switchyard.observation.routed_text import routed_experts
from switchyard.observation.saturation import saturation_table
from switchyard.observation.windows import Windows
from switchyard.runtime.log import logged
from switchyard.runtime.progress import bar

BATCHES = 16
"""Of the windows, the first ones: shares of some ten thousand tokens need no more."""


def main(
    *,
    name: str,
    windows: Path,
    model: Path,
    kept: Path,
    output: Path,
    dtype: str,
    gpu_mem_gb: int,
    code: str,
) -> None:
    text = Windows(windows)
    batches = list(text.read(range(min(BATCHES, text.batches))))
    folders = {int(folder.name.removeprefix("step-")): folder for folder in sorted(kept.glob("step-*"))}
    with bar(len(folders) + 1, f"measure_saturation {name}", unit="checkpoints") as progress:
        found = {}
        for step, folder in [*folders.items(), (None, model)]:
            found[step] = routed_experts(
                load_model(folder, dtype=dtype, gpu_mem_gb=gpu_mem_gb),  # the one before is gone
                batches,
                special=text.special_token_ids,
            )
            progress.update(1)
    num_experts = read_json(model / "structure.json")["num_experts"]
    table = saturation_table({step: found[step] for step in folders}, found[None], num_experts=num_experts)
    inputs = {"windows": windows, "model": folder_digest(model)}
    inputs |= {f"step_{step}": folder_digest(folder) for step, folder in folders.items()}
    made = stamp(code=code, config={"dtype": dtype, "batches": BATCHES}, inputs=inputs, model={"name": name})
    write_table(output, table, {"provenance": made})


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        torch.set_num_threads(snakemake.params.threads)
        main(
            name=snakemake.wildcards.model,
            windows=Path(snakemake.input.windows),
            model=Path(snakemake.input.model),
            kept=Path(snakemake.input.kept),
            output=Path(snakemake.output[0]),
            dtype=snakemake.params.dtype,
            gpu_mem_gb=snakemake.resources.gpu_mem_gb,
            code=snakemake.params.code,
        )
