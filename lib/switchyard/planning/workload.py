"""What a study asks of its jobs in numbers: tokens of its texts, structures of its models, experts of its rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from switchyard.errors import InputError
from switchyard.planning.dag import ROOT
from switchyard.planning.footprint import structure
from switchyard.study.config import RESERVED_DATASETS, merge, read, resolve
from switchyard.study.configurations import Configuration, configurations

REPEATED_SAMPLES = 20
"""Samples that each experiment runs twice (`evaluation.experiment.REPEAT_SAMPLES`, which needs torch)."""

OPTIONS = {"hellaswag": 4, "arc": 5}
"""Options of a choice by layout; 4 where the layout leaves it open, as in the pocket sets."""


class Tokens(NamedTuple):
    """Tokens of an experiment on a dataset; `exact` where they were counted, else they are at most so many."""

    all: int
    repeated: int
    longest: int
    exact: bool


class Workload:
    """A study's configuration, resolved, with what follows from it; `folder` is where its results go."""

    def __init__(self, config: Mapping[str, Any], directory: Path) -> None:
        self.config, self.directory = config, directory
        self.folder = directory / "results" / config["study"]
        self.texts = {
            **config["datasets"],
            **{name: config["calibration"][name] for name in RESERVED_DATASETS},
        }
        self.configurations: dict[str, Configuration] = {
            one.name: one for one in configurations(dict(config))
        }
        self.model: str = config["evaluation"]["model"]
        self.structure = cache(self._structure)
        self.tokens = cache(self._tokens)

    def prepared(self, model: str) -> Path:
        """Folder that a model is prepared in."""
        return self.folder / "prepare" / "models" / model

    def dtype(self, model: str) -> str:
        """Precision of a model's weights."""
        return self.config["models"][model]["dtype"]

    def _structure(self, model: str) -> dict[str, Any] | None:
        entry = dict(self.config["models"][model])
        if "path" in entry:
            entry["path"] = str(self.directory / entry["path"])
        size = self.config["corpus"]["vocabulary_size"]
        return structure(entry, self.prepared(model), vocabulary_size=size)

    def most_experts(self, name: str) -> int | None:
        """Most experts that a configuration gives a token; None for every expert of the model."""
        settings = self._partner(name).settings
        return settings.get("max_k") or settings.get("k")

    def slots(self) -> int | None:
        """Most experts of a token in the whole study: a process that ran one configuration runs the others too."""
        most = [self.most_experts(name) for name in self.configurations]
        return None if None in most else max(most)

    def mean_experts(self, name: str) -> float | None:
        """Experts that a configuration is taken to give a token on average; None where its model is unknown.

        Static rules and budgets say it. A rule that adapts is taken for the trained number, or its own limit if less.
        """
        settings, known = self._partner(name).settings, self.structure(self.model)
        if told := settings.get("target_k") or settings.get("k"):
            return min(told, known["num_experts"]) if known else told
        return min(settings["max_k"], known["top_k"]) if known else None

    def keeps_logits(self, name: str) -> bool:
        """Whether traces of a configuration hold every router logit."""
        return self.run_setting(name, "keep_logits")

    def run_setting(self, name: str, setting: str) -> Any:
        """What a configuration's set says, or else `evaluation`."""
        return self.configurations[name].run.get(setting, self.config["evaluation"][setting])

    def _partner(self, name: str) -> Configuration:
        return self.configurations[self.configurations[name].settings.get("matched", name)]

    def _tokens(self, dataset: str) -> Tokens:
        entry = self.texts[dataset]
        samples, length = entry["samples"], entry["max_length"]
        path = self.folder / "prepare" / "datasets" / f"{dataset}.parquet"
        if path.is_file() and (self.prepared(self.model) / "config.json").is_file():
            return self._counted(path, length, samples)
        options = OPTIONS.get(entry.get("layout"), 4) if entry["kind"] == "choice" else 1
        each = options * length
        return Tokens(samples * each, min(samples, REPEATED_SAMPLES) * each, length, exact=False)

    def _counted(self, path: Path, length: int, samples: int) -> Tokens:
        """Tokens as the model's own tokenizer counts them."""
        import pyarrow.parquet as pq

        from switchyard.evaluation.sequences import all_sequences, build_samples
        from switchyard.models.load import load_tokenizer

        found = build_samples(
            pq.read_table(path),
            load_tokenizer(self.prepared(self.model)),
            max_length=length,
            samples=samples,
        )
        counted, again = (
            [len(sequence.input_ids) for sequence in all_sequences(part)]
            for part in (found, found[:REPEATED_SAMPLES])
        )
        return Tokens(sum(counted), sum(again), max(counted), exact=True)

    def observed_tokens(self, model: str) -> tuple[int | None, bool]:
        """Tokens that routing is observed on, and whether they were counted; None where nothing bounds them."""
        windows = self.folder / "observe" / model / "windows.parquet"
        if windows.is_file():
            import pyarrow.compute as pc
            import pyarrow.parquet as pq

            lengths = pc.list_value_length(pq.read_table(windows, columns=["token_ids"])["token_ids"])
            return int(pc.sum(lengths).as_py() or 0), True
        return self.config["observation"]["tokens"], False

    @cached_property
    def observed_layers(self) -> int | None:
        """MoE blocks that are observed; None for all."""
        layers = self.config["observation"]["layers"]
        return len(layers) if layers else None


def load(study: Path | None, directory: Path, extra: Sequence[str] = ()) -> Workload:
    """The study as snakemake would resolve it: config.yaml, the folder's own, the study file, `--config` words.

    Raises:
        InputError: a file or a field is wrong.
    """
    own = directory / "config.yaml"
    files = [ROOT / "config.yaml", *([own] if own.is_file() else []), *([study] if study else [])]
    config: dict[str, Any] = {}
    for file in files:
        config = merge(config, read(file))
    config = merge(config, _overrides(extra))
    return Workload(resolve(config, read(ROOT / "config.schema.yaml"), directory), directory)


def _overrides(words: Sequence[str]) -> dict[str, Any]:
    """What `--config KEY=VALUE ...` among snakemake's options sets."""
    found: dict[str, Any] = {}
    taking = False
    for word in words:
        if word.startswith("-"):
            option, _, word = word.partition("=")
            taking = option in ("--config", "-C")
        key, sign, value = word.partition("=")
        if taking and sign:
            try:
                found = merge(found, {key: yaml.safe_load(value)})
            except yaml.YAMLError as error:
                raise InputError(f"plan: --config {key}: {value!r} is not YAML; mend the quotes") from error
    return found
