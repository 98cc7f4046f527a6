"""Rule write_inspector: traces, scores and rules of some configurations -> the routing inspector, one page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from switchyard.artifacts.files import read_stamp
from switchyard.artifacts.stamps import sha256_json, stamp
from switchyard.models.load import load_tokenizer
from switchyard.reporting.inspector import inspected, write_inspector
from switchyard.runtime.log import logged
from switchyard.study.experiment import build_rule


def main(
    *,
    traces: list[Path],
    scores: list[Path],
    model: Path,
    configurations: Mapping[str, Mapping[str, Any]],
    samples: int,
    max_tokens: int,
    output: Path,
    code: str,
) -> None:
    tokenizer = load_tokenizer(model)
    configs = [read_stamp(trace)["config"] for trace in traces]
    rules = {
        config: build_rule(**configurations[config]["rule"], files=configurations[config]["files"])
        for config in set(configs)
    }
    labels = {config: one["label"] for config, one in configurations.items()}

    def experiments(tokens: int) -> list[dict[str, Any]]:
        return [
            inspected(*paths, samples, tokenizer, label=labels[config], rule=rules[config], max_tokens=tokens)
            for *paths, config in zip(traces, scores, configs, strict=True)
        ]

    shown = {"labels": labels, "samples": samples, "max_tokens": max_tokens}
    inputs = {trace.stem: sha256_json(read_stamp(trace)) for trace in traces}
    made = stamp(code=code, config=shown, inputs=inputs)
    write_inspector(output, experiments, max_tokens=max_tokens, title="Routing inspector", stamp=made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            traces=[Path(path) for path in snakemake.input.traces],
            scores=[Path(path) for path in snakemake.input.scores],
            model=Path(snakemake.input.model),
            configurations=snakemake.params.configurations,
            samples=snakemake.params.samples,
            max_tokens=snakemake.params.max_tokens,
            output=Path(snakemake.output[0]),
            code=snakemake.params.code,
        )
