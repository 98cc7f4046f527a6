"""Router logits of an untouched model, from files to a file, in a worker or in the job's own process."""

from __future__ import annotations

from pathlib import Path

import torch

from switchyard.artifacts.files import read_table
from switchyard.artifacts.stamps import stamp
from switchyard.evaluation.router_logits import collect_router_logits
from switchyard.models.kept import load_kept
from switchyard.models.load import check_length
from switchyard.models.routers import selection_scores
from switchyard.routing.logit_table import write_logits
from switchyard.runtime.progress import bar


def router_logits(
    *,
    name: str,
    model: str,
    text: str,
    output: str,
    dtype: str,
    tokens: int,
    max_length: int,
    batch_tokens: int,
    threads: int,
    gpu_mem_gb: int,
    code: str,
) -> None:
    """Write the router logits of every layer (`routing.logit_table.write_logits`) on the first tokens of a text.

    Args:
        name: of the text, for the progress bar.
        model: the folder of the model.
        text: prepared samples of running text.
        output: the file to write.
        tokens, max_length, batch_tokens: see `evaluation.router_logits.collect_router_logits`.
        gpu_mem_gb: what the process leases of a card, if there is one.
        code: fingerprint of the library code.

    Raises:
        InputError: the model cannot be used, or not with sequences of `max_length` tokens.
    """
    torch.set_num_threads(threads)
    check_length(Path(model), max_length)
    sizes = {"tokens": tokens, "max_length": max_length, "batch_tokens": batch_tokens}
    with bar(None, f"collect_router_logits {name}", unit="windows") as progress:  # pages end short ones
        loaded = load_kept(Path(model), dtype, gpu_mem_gb)
        table = read_table(text)
        logits = collect_router_logits(
            loaded.model, loaded.tokenizer, table, **sizes, progress=progress.update
        )
    inputs = {"model": loaded.digest, "text": text}
    made = stamp(code=code, config={"dtype": dtype, **sizes}, inputs=inputs)
    write_logits(Path(output), logits, made, selection_scores(loaded.model))
