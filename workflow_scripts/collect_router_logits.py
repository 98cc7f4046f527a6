"""Rule collect_router_logits: model + text -> router logits of every layer."""

from pathlib import Path

import torch

from switchyard.artifacts.files import read_table
from switchyard.artifacts.stamps import stamp
from switchyard.evaluation.router_logits import collect_router_logits
from switchyard.models.load import check_length, folder_digest, load_model, load_tokenizer
from switchyard.models.routers import selection_scores
from switchyard.routing.logit_table import write_logits
from switchyard.runtime.log import logged
from switchyard.runtime.progress import bar


def main(
    *,
    name: str,
    model: Path,
    text: Path,
    output: Path,
    dtype: str,
    tokens: int,
    max_length: int,
    batch_tokens: int,
    gpu_mem_gb: int,
    code: str,
) -> None:
    check_length(model, max_length)
    settings = {"dtype": dtype, "tokens": tokens, "max_length": max_length, "batch_tokens": batch_tokens}
    with bar(None, f"collect_router_logits {name}", unit="windows") as progress:  # pages end short ones
        loaded = load_model(model, dtype=dtype, gpu_mem_gb=gpu_mem_gb)
        logits = collect_router_logits(
            loaded,
            load_tokenizer(model),
            read_table(text),
            tokens=tokens,
            max_length=max_length,
            batch_tokens=batch_tokens,
            progress=progress.update,
        )
    write_logits(
        output,
        logits,
        stamp(code=code, config=settings, inputs={"model": folder_digest(model), "text": text}),
        selection_scores(loaded),
    )


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        torch.set_num_threads(snakemake.params.threads)
        main(
            name=snakemake.wildcards.text,
            model=Path(snakemake.input.model),
            text=Path(snakemake.input.text),
            output=Path(snakemake.output[0]),
            dtype=snakemake.params.dtype,
            tokens=snakemake.params.tokens,
            max_length=snakemake.params.max_length,
            batch_tokens=snakemake.params.batch_tokens,
            gpu_mem_gb=snakemake.resources.gpu_mem_gb,
            code=snakemake.params.code,
        )
