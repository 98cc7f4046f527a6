"""Rule measure_speed: speed of all configurations and of the untouched model, interleaved in one process."""

from pathlib import Path
from typing import Any

import torch

from switchyard.artifacts.digests import digests
from switchyard.artifacts.files import read_table, write_json
from switchyard.artifacts.stamps import sha256_json, stamp
from switchyard.evaluation.speed import implementations, measure
from switchyard.models.load import folder_digest, load_model, load_tokenizer
from switchyard.runtime.log import logged
from switchyard.runtime.placement import clocks, device
from switchyard.runtime.progress import bar
from switchyard.study.experiment import build_rule

WARMUP_ROUNDS = 1


def main(
    *,
    name: str,
    model: Path,
    dtype: str,
    gpu_mem_gb: int,
    text: Path,
    settings: dict[str, dict],
    reads: dict[str, dict],
    speed: dict[str, Any],
    output: Path,
    code: str,
) -> None:
    torch.set_num_threads(speed["threads"])
    device(None)  # a whole card, as this job has the whole machine
    rules = {config: build_rule(**setting, files=reads[config]) for config, setting in settings.items()}
    pages = read_table(text, columns=["text"])["text"].to_pylist()
    tokenizer = load_tokenizer(model)
    token_ids = [token for page in pages for token in tokenizer(page)["input_ids"]]
    loaded = load_model(model, dtype=dtype, gpu_mem_gb=gpu_mem_gb)
    untouched = implementations(loaded)
    with bar(
        (len(rules) + len(untouched)) * (speed["rounds"] + WARMUP_ROUNDS),
        f"measure_speed {name}",
        unit="timings",
    ) as progress:
        rows = measure(
            loaded,
            rules,
            token_ids,
            rounds=speed["rounds"],
            warmup_rounds=WARMUP_ROUNDS,
            prefill_tokens=speed["prefill_tokens"],
            decode_tokens=speed["decode_tokens"],
            untouched=untouched,
            progress=progress.update,
        )
    files = {config: digests(found) for config, found in reads.items()}
    inputs = {"model": folder_digest(model), "text": text, "rules": sha256_json(files)}
    made = stamp(code=code, config={"speed": speed, "dtype": dtype, "rules": settings}, inputs=inputs)
    machine = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, threads: {speed['threads']}"
    )
    rows = [{"model": name, **row} for row in rows]
    configurations = [row for row in rows if row["config"] is not None]
    write_json(
        output,
        {
            "model": name,
            "device": machine,
            "clocks": clocks(),
            "rows": configurations,
            "untouched": [row for row in rows if row["config"] is None],
            "provenance": made,
        },
    )


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.model,
            model=Path(snakemake.input.model),
            dtype=snakemake.params.dtype,
            gpu_mem_gb=snakemake.resources.gpu_mem_gb,
            text=Path(snakemake.input.text),
            settings=snakemake.params.settings,
            reads=snakemake.params.reads,
            speed=snakemake.params.speed,
            output=Path(snakemake.output[0]),
            code=snakemake.params.code,
        )
