"""Rule measure_var_speed: prefill and decode of VAR's configurations and the untouched model, interleaved."""

from pathlib import Path
from typing import Any

import torch

from switchyard.artifacts.files import read_table, write_json
from switchyard.artifacts.stamps import stamp
from switchyard.evaluation.speed import per_round, timings
from switchyard.models.load import folder_digest, load_model, load_tokenizer
from switchyard.runtime.log import logged
from switchyard.runtime.placement import device, hardware
from switchyard.runtime.progress import bar
from switchyard.var.results import BASELINE
from switchyard.var.router import VARRouter

WARMUP_ROUNDS = 1


def main(
    *,
    name: str,
    model: Path,
    table: Path,
    text: Path,
    output: Path,
    configs: dict[str, dict[str, Any]],
    tokens_per_second: float,
    speed: dict[str, Any],
    dtype: str,
    code: str,
) -> None:
    torch.set_num_threads(speed["threads"])
    device(None)  # a whole card, as this job has the whole machine
    shared = {"tokens_per_second": tokens_per_second}
    rules = {
        config: VARRouter.from_study({**settings, **shared}, {"routing_table": table})
        for config, settings in configs.items()
    }
    tokenizer = load_tokenizer(model)
    pages = read_table(text, columns=["text"])["text"].to_pylist()
    token_ids = [token for page in pages for token in tokenizer(page)["input_ids"]]
    steps = (1 + len(rules)) * (speed["rounds"] + WARMUP_ROUNDS)
    with bar(steps, f"measure_var_speed {name}", unit="timings") as progress:
        measured = timings(
            load_model(model, dtype=dtype),
            {BASELINE: None, **rules},
            token_ids,
            rounds=speed["rounds"],
            warmup_rounds=WARMUP_ROUNDS,
            prefill_tokens=speed["prefill_tokens"],
            decode_tokens=speed["decode_tokens"],
            lead=True,  # so that caches hold what a text like it leaves there
            own_when_full=True,  # so that the untouched model is itself, and VAR what a user's script runs
            progress=progress.update,
        )
    inputs = {"model": folder_digest(model), "text": text, "table": table}
    made = stamp(
        code=code, config={"speed": speed, "dtype": dtype, "configs": configs, **shared}, inputs=inputs
    )
    found = {config: per_round(timed) for (config, _), timed in measured.items()}
    write_json(output, {"model": name, "device": hardware(), "timings": found, "provenance": made})


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.model,
            model=Path(snakemake.input.model),
            table=Path(snakemake.input.table),
            text=Path(snakemake.input.text),
            output=Path(snakemake.output[0]),
            configs=snakemake.params.configs,
            tokens_per_second=snakemake.params.tokens_per_second,
            speed=snakemake.params.speed,
            dtype=snakemake.params.dtype,
            code=snakemake.params.code,
        )
