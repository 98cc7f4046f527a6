"""Rule observe_shard: windows + model -> counts of a range of batches."""

from pathlib import Path
from typing import Any

import torch

from switchyard.artifacts.files import read_json
from switchyard.artifacts.stamps import stamp
from switchyard.errors import InputError
from switchyard.models.load import folder_digest, load_model
from switchyard.observation.counted import counters
from switchyard.observation.run import observe_shard
from switchyard.runtime.log import logged
from switchyard.runtime.progress import bar


def main(
    *,
    name: str,
    shard: int,
    shards: int,
    windows: Path,
    model: Path,
    output: Path,
    memory: Path,
    dtype: str,
    gpu_mem_gb: int,
    segments: list[int],
    settings: dict[str, Any],
    code: str,
) -> None:
    blocks = read_json(model / "structure.json")["num_layers"]
    if wrong := sorted(set(settings["layers"] or []) - set(range(blocks))):
        raise InputError(
            f"observation.layers: {wrong[0]} is none of the {blocks} layers of {name}; count from 0"
        )
    digest = folder_digest(model)
    made = stamp(
        code=code,
        config={**settings, "dtype": dtype, "segments": segments, "shards": shards},
        inputs={"windows": windows, "model": digest},
    )
    with bar(None, f"observe_shard {name} {shard}", unit="tokens") as progress:
        observe_shard(
            load_model(model, dtype=dtype, gpu_mem_gb=gpu_mem_gb),
            windows,
            shard,
            shards,
            output,
            model_digest=digest,
            counters=counters(segments),
            stamp=made,
            memory=memory,
            progress=progress.update,
            **settings,
        )


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        torch.set_num_threads(snakemake.params.threads)
        main(
            name=snakemake.wildcards.model,
            shard=int(snakemake.wildcards.shard),
            shards=snakemake.params.shards,
            windows=Path(snakemake.input.windows),
            model=Path(snakemake.input.model),
            output=Path(snakemake.output.counts),
            memory=Path(snakemake.output.memory),
            dtype=snakemake.params.dtype,
            gpu_mem_gb=snakemake.resources.gpu_mem_gb,
            segments=snakemake.params.segments,
            settings={
                "layers": snakemake.params.layers,
                "context_window": snakemake.params.context_window,
                "buckets": snakemake.params.buckets,
                "checkpoint_every": snakemake.params.checkpoint_tokens,
            },
            code=snakemake.params.code,
        )
