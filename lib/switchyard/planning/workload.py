"""What a study asks of its jobs: tokens, experts of a token, and bytes of what they write.

All follow from the configuration, from a job's wildcards and from the texts that it reads, so that a new rule needs no
line here. What they do not say is unknown (None).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from switchyard.planning import footprint
from switchyard.planning.footprint import GB
from switchyard.planning.jobs import ROOT, Job
from switchyard.study.config import merge, read, resolve
from switchyard.study.configurations import Configuration, configurations
from switchyard.study.experiment import REPEAT_SAMPLES
from switchyard.study.models import is_cached, known_structure
from switchyard.var.grid import Grid

OPTIONS = {"hellaswag": 4, "arc": 5}
"""Options of a choice by layout; 4 where the layout leaves it open, as in the pocket sets."""

LOGIT_BYTES = {"float32": 3.2, "bfloat16": 1.3, "float16": 1.7}
"""Of a router logit in a trace: float32 split by bytes and compressed; a model in 16 bits leaves half of it empty."""

PAIR_BYTES, ROW_BYTES, REPEAT_FACTOR = 3.2, 3.0, 1.3
"""In a trace: of an expert with its weight, of a row beside them, and how much more short forwards take."""
LOG_PAIR_BYTES, LOG_ROW_BYTES = 15.5, 45.0
"""In an internal log: of an expert with its weight, and of a token in a layer, in JSON. All were measured on pocket."""
ABLATION_RUNS = 16
"""Of an ablation, at most: the untouched model, VAR and BH whole, and VAR's eight and BH's five components off."""


class Tokens(NamedTuple):
    """Tokens that a job feeds a model; where they were not counted (`exact`), they are at most so many."""

    number: int
    exact: bool = True


class Workload:
    """A study's configuration, resolved, with what follows from it for a job. `results` is a folder of `directory`."""

    def __init__(self, config: Mapping[str, Any], directory: Path) -> None:
        self.config, self.directory = config, directory
        self.results = f"results/{config['study']}"
        self.configurations = {(one.model, one.name): one for one in configurations(dict(config))}
        self.structure = cache(self._structure)
        self.lengths = cache(self._lengths)

    def model(self, job: Job) -> str | None:
        """The model that a job is about; None for a job that is about all."""
        return job.wildcards.get("model")

    def experiment(self, job: Job) -> Configuration | None:
        """The configuration that a job runs on a dataset; None for all other jobs."""
        if not job.runs_model or not {"config", "dataset"} <= job.wildcards.keys():
            return None
        return self.configurations[job.wildcards["model"], job.wildcards["config"]]

    def tokens(self, job: Job) -> Tokens | None:
        """Tokens that a job feeds a model, none if it runs no model: those of the texts that it reads."""
        if not job.runs_model:
            return Tokens(0)
        if "text" in job.wildcards:
            return Tokens(self.config["calibration"]["tokens"], exact=False)
        if "shard" in job.wildcards:
            whole, shards = (self.config["observation"][key] for key in ("tokens", "shards"))
            return whole and Tokens(whole // shards, exact=False)
        if job.rule in ("evaluate_points", "validate_search", "ablate_rules"):
            return self._searched(job)
        var = self.config["var"]
        if tuned := [name for name in var["datasets"] if self._prepared(name) in job.inputs]:
            runs, samples = len(var["seeds"]) * (1 + len(var["presets"]) + len(var["custom"])), var["samples"]
            if job.rule == "sweep_var":
                known, samples = self.structure(self.model(job)), var["sweep"]["samples"]
                if known is None:
                    return None
                runs = 1 + Grid.of(var["sweep"]).count(known["top_k"])
            found = [self.lengths(self.model(job), name)[0][:samples] for name in tuned]
            return Tokens(runs * sum(map(sum, found)), exact=False)
        texts = [name for name in self.config["datasets"] if self._prepared(name) in job.inputs]
        found = [self.lengths(self.model(job), name) for name in texts]
        again, most = REPEAT_SAMPLES, None
        if not self.experiment(job):
            again, most = 0, self.config["evaluation"]["assessment_samples"]
        number = sum(sum(each[:most]) + sum(each[:again]) for each, _ in found)
        return Tokens(number, all(exact for _, exact in found)) if texts else None

    def _searched(self, job: Job) -> Tokens:
        """A batch of points in each space beside the untouched model; what is validated, on both texts; ablations."""
        search, var = self.config["search"], self.config["var"]
        if job.rule == "ablate_rules":
            own = self.lengths(self.model(job), search["dataset"])[0]
            return Tokens(ABLATION_RUNS * sum(own[: search["ablation"]["samples"]]), exact=False)
        texts = {"dataset": search["samples"], "final": search["final_samples"]}
        lengths = {
            name: sum(self.lengths(self.model(job), search[name])[0][:samples])
            for name, samples in texts.items()
        }
        if job.rule == "evaluate_points":
            return Tokens((1 + len(search["spaces"]) * search["batch"]) * lengths["dataset"], exact=False)
        manual = 1 + len(var["presets"]) + len(var["custom"])
        best = len(search["methods"])
        return Tokens(manual * lengths["dataset"] + (manual + best) * lengths["final"], exact=False)

    def experts(self, job: Job) -> float | None:
        """Experts that a job gives a token on average: as trained, or what its configuration says.

        A rule that adapts is taken for the trained number, or its own limit if that is less. None where the model is
        unknown.
        """
        known, own = self.structure(self.model(job)), self.experiment(job)
        if known is None or own is None:
            return known and known["top_k"]
        settings = self.configurations[own.model, own.settings.get("matched", own.name)].settings
        stated = settings.get("target_k") or settings.get("k")
        return min(
            stated or settings.get("max_k", known["top_k"]), known["num_experts" if stated else "top_k"]
        )

    def relative_cost(self, job: Job) -> float | None:
        """Arithmetic of a token in this job relative to the model as it was trained."""
        known, active = self.structure(self.model(job)), footprint.active_parameters
        return known and active(known, self.experts(job)) / active(known)

    def disk_gb(self, job: Job) -> float | None:
        """GB of the weights, traces, logs and observed counts that a job writes; other files are small and left out."""
        model, experiment, observes = self.model(job), self.experiment(job), "shard" in job.wildcards
        if model is None:
            return 0.0
        entry, known = self.config["models"][model], self.structure(model)
        prepares = f"{self.results}/prepare/models/{model}" in job.outputs
        cached = prepares and entry["source"] == "hub" and is_cached(entry)
        if cached or not (prepares or experiment or observes):
            return 0.0
        if known is None:
            return None
        if prepares:
            return 2 * footprint.parameters(known) / GB  # checkpoints are published in 16 bits
        return self._shard_gb(known) if observes else self._experiment_gb(job, known)

    def _prepared(self, dataset: str) -> str:
        return f"{self.results}/prepare/datasets/{dataset}.parquet"

    def _folder(self, model: str) -> Path:
        return self.directory / self.results / "prepare" / "models" / model

    def _structure(self, model: str | None) -> dict[str, Any] | None:
        if model is None:
            return None
        size = self.config["corpus"]["vocabulary_size"]
        entry = self.config["models"][model]
        return known_structure(entry, self._folder(model), root=self.directory, vocabulary_size=size)

    def _lengths(self, model: str, dataset: str) -> tuple[list[int], bool]:
        """Tokens of each sample, all options of a choice together; exact where text and model are prepared."""
        entry = {**self.config["datasets"], **self.config["var"]["datasets"]}[dataset]
        samples, length = entry["samples"], entry["max_length"]
        text, folder = self.directory / self._prepared(dataset), self._folder(model)
        if text.is_file() and (folder / "config.json").is_file():
            return _counted(text, folder, length, samples), True
        options = OPTIONS.get(entry.get("layout"), 4) if entry["kind"] == "choice" else 1
        return [options * length] * samples, False

    def _shard_gb(self, known: Mapping[str, Any]) -> float:
        observation = self.config["observation"]
        layers = len(observation["layers"] or range(known["num_layers"]))
        kept = observation["context_window"] * observation["buckets"] * layers * known["top_k"]
        return footprint.observation_gb(known, layers=layers) + 5 * kept / GB

    def _experiment_gb(self, job: Job, known: Mapping[str, Any]) -> float:
        """An experiment's two traces, and its internal log with as many samples spelled out as the study says."""
        model, experts = self.model(job), self.experts(job)
        lengths, _ = self.lengths(model, job.wildcards["dataset"])
        run = {**self.config["evaluation"], **self.experiment(job).run}
        row = ROW_BYTES + PAIR_BYTES * experts
        if run["keep_logits"]:
            row += LOGIT_BYTES[self.config["models"][model]["dtype"]] * known["num_experts"]
        trace = row * (sum(lengths) + REPEAT_FACTOR * sum(lengths[:REPEAT_SAMPLES]))
        log = (LOG_ROW_BYTES + LOG_PAIR_BYTES * experts) * sum(lengths[: run["spelled_out_samples"]])
        return known["num_layers"] * (trace + log) / GB


def load(study: Path | None, directory: Path, extra: Sequence[str] = ()) -> Workload:
    """The study as snakemake resolves it: config.yaml, the study file, `--config` among snakemake's options.

    Raises:
        InputError: a file or a field is wrong.
    """
    from snakemake.cli import get_argument_parser, parse_config

    config = read(ROOT / "config.yaml")
    config = merge(config, read(study)) if study else config
    config = merge(config, parse_config(get_argument_parser().parse_known_args(extra)[0].config))
    return Workload(resolve(config, read(ROOT / "config.schema.yaml"), directory), directory)


def _counted(text: Path, model: Path, max_length: int, samples: int) -> list[int]:
    """Tokens of each sample of a prepared dataset, by the model's tokenizer."""
    import pyarrow.parquet as pq

    from switchyard.evaluation.sequences import all_sequences, build_samples
    from switchyard.models.load import load_tokenizer

    found = build_samples(pq.read_table(text), load_tokenizer(model), max_length=max_length, samples=samples)
    return [sum(len(sequence.input_ids) for sequence in all_sequences([one])) for one in found]
