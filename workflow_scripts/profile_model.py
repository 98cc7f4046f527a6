"""Rule profile_model: model + profiled rules + text -> components, scaling, roofline, latencies, fitted model."""

from pathlib import Path
from typing import Any

import torch

from switchyard.artifacts.digests import digests
from switchyard.artifacts.files import read_table
from switchyard.artifacts.stamps import sha256_json, stamp
from switchyard.models.load import folder_digest, load_model, load_tokenizer
from switchyard.profiling.run import Settings, profile, steps
from switchyard.profiling.written import write_profile
from switchyard.runtime.log import logged
from switchyard.runtime.placement import device, hardware
from switchyard.runtime.progress import bar
from switchyard.study.experiment import build_rule


def main(
    *,
    name: str,
    model: Path,
    text: Path,
    folder: Path,
    rules: dict[str, dict[str, Any]],
    settings: dict[str, Any],
    dtype: str,
    code: str,
) -> None:
    torch.set_num_threads(settings["threads"])
    device(None)  # a whole card, as this job has the whole machine
    built = {config: build_rule(**job) for config, job in rules.items()}
    tokenizer, asked = load_tokenizer(model), Settings.of(settings)
    pages = read_table(text, columns=["text"])["text"].to_pylist()
    token_ids = [token for page in pages for token in tokenizer(page)["input_ids"]]
    loaded = load_model(model, dtype=dtype)
    with bar(steps(loaded, asked), f"profile_model {name}", unit="steps") as progress:
        found = profile(loaded, built, token_ids, asked, progress=progress.update)
    files = {config: digests(job["files"]) for config, job in rules.items()}
    own = {config: {key: job[key] for key in ("home", "settings")} for config, job in rules.items()}
    made = stamp(
        code=code,
        config={"profile": settings, "dtype": dtype, "rules": own},
        inputs={"model": folder_digest(model), "text": text, "rules": sha256_json(files)},
        model={"name": name},
    )
    write_profile(folder, found, head={"model": name, "device": hardware(), "dtype": dtype}, stamp=made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            name=snakemake.wildcards.model,
            model=Path(snakemake.input.model),
            text=Path(snakemake.input.text),
            folder=Path(snakemake.output.components).parent,
            rules=snakemake.params.rules,
            settings=snakemake.params.settings,
            dtype=snakemake.params.dtype,
            code=snakemake.params.code,
        )
