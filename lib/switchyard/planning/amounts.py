"""Tokens, seconds and bytes of single jobs, by what the study asks of them: what `costs.RULES` is put together from.

Seconds and bytes were measured in the default study ("pocket", two cores of a server, 2026) unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from switchyard.planning.dag import Job
from switchyard.planning.footprint import GB, is_cached, observation_gb, parameters
from switchyard.planning.workload import Workload

LOGIT_BYTES = {"float32": 3.2, "bfloat16": 1.3, "float16": 1.7}
"""Of a router logit in a trace: float32 split by bytes and compressed; a model in 16 bits leaves half of it empty."""

PAIR_BYTES, ROW_BYTES, REPEAT_FACTOR = 3.2, 3.0, 1.3
"""In a trace: of an expert with its weight, of a row beside them, and how much more short forwards take."""

LOG_PAIR_BYTES, LOG_ROW_BYTES = 15.5, 45.0
"""In an internal log: of an expert with its weight, and of a token in a layer, spelled out in JSON."""

DECODED = 45
"""Tokens of a prefill that take as long as one that is decoded alone."""

DOWNLOAD_GB_PER_SECOND = 0.05
"""From the hub; taken."""

KEPT_CHECKPOINTS = 3
"""Earlier weights of a training that are kept (`models.pocket.KEPT_AT`)."""

START_S = 6.0
"""From a process's start to its first forward."""


class Part(NamedTuple):
    """Tokens of one forward after the other under one number of experts (None: as trained)."""

    tokens: int
    experts: float | None = None
    config: str | None = None
    weight: float = 1.0
    """How many forwards of a long batch take as long."""


class Forwards(NamedTuple):
    """What a job feeds a model; `parts` None where nothing bounds the tokens, `exact` where they were counted."""

    model: str
    parts: tuple[Part, ...] | None
    exact: bool = True
    loads: int = 1
    shared: bool = False
    """Whether the job finds the model in the memory of one before it."""


Number = Callable[[Workload, Job], float | None]


def always(number: float) -> Number:
    return lambda work, job: number


def of_structure(measure: Callable[[Workload, Job, dict[str, Any]], float | None]) -> Number:
    """A number that follows from the structure of the job's model; None where that is unknown."""

    def number(work: Workload, job: Job) -> float | None:
        known = work.structure(model_of(work, job))
        return None if known is None else measure(work, job, known)

    return number


def model_of(work: Workload, job: Job) -> str:
    """The model that a job is about: its wildcard, or the evaluated one."""
    return job.wildcards.get("model", work.model)


# --- prepare


def fetched_seconds(work: Workload, job: Job, known: dict[str, Any]) -> float:
    copied = fetched_bytes(work, job, known) / GB
    from_hub = work.config["models"][model_of(work, job)]["source"] == "hub"
    return 3.0 + (copied / DOWNLOAD_GB_PER_SECOND if from_hub else copied)


def fetched_bytes(work: Workload, job: Job, known: dict[str, Any]) -> float:
    """Checkpoints are published in 16 bits; one from the hub is written into its cache, if it is not there."""
    entry = work.config["models"][model_of(work, job)]
    return 0.0 if entry["source"] == "hub" and is_cached(entry) else parameters(known) * 2.0


def downloaded_gb(work: Workload, jobs: Sequence[Job]) -> float:
    """What these jobs write into the hub's cache, GB."""
    hub = [name for name, entry in work.config["models"].items() if entry["source"] == "hub"]
    fetched = [job for job in jobs if job.rule == "fetch_model" and job.wildcards["model"] in hub]
    return sum(of_structure(fetched_bytes)(work, job) or 0.0 for job in fetched) / GB


def prepared_bytes(work: Workload, job: Job) -> float:
    entry = work.texts[job.wildcards["dataset"]]
    return 1e6 if entry["source"] == "pocket" else 5e6


def corpus_bytes(work: Workload, job: Job) -> float | None:
    entry = work.config["corpora"][job.wildcards["corpus"]]
    documents = entry.get("num_samples")
    return 5e6 if entry["source"] == "pocket" else documents and 2500.0 * documents


def corpus_seconds(work: Workload, job: Job) -> float | None:
    size = corpus_bytes(work, job)
    return None if size is None else 1 + size / 1e6


def training(work: Workload, job: Job) -> Forwards:
    recipe = work.config["models"][job.wildcards["model"]]["training"]
    tokens = recipe["steps"] * recipe["batch_size"] * recipe["sequence_length"]
    return Forwards(
        job.wildcards["model"], (Part(tokens, weight=3.0),), loads=0
    )  # backward costs two forwards


# --- observe


def windows_seconds(work: Workload, job: Job) -> float | None:
    tokens, _ = work.observed_tokens(model_of(work, job))
    return None if tokens is None else 4 + 1.3e-5 * tokens


def shard(work: Workload, job: Job) -> Forwards:
    tokens, exact = work.observed_tokens(job.wildcards["model"])
    if tokens is None:
        return Forwards(job.wildcards["model"], None)
    return Forwards(job.wildcards["model"], (Part(tokens // work.config["observation"]["shards"]),), exact)


def shard_seconds(work: Workload, job: Job, known: dict[str, Any]) -> float | None:
    tokens, _ = work.observed_tokens(job.wildcards["model"])
    layers = work.observed_layers or known["num_layers"]
    if tokens is None:
        return None
    return START_S + 1.5e-5 * layers * tokens / work.config["observation"]["shards"]


def shard_bytes(work: Workload, job: Job, known: dict[str, Any]) -> float:
    observation, layers = work.config["observation"], work.observed_layers or known["num_layers"]
    kept = observation["context_window"] * observation["buckets"] * layers * known["top_k"]
    return GB * observation_gb(known, layers=layers) + 5.0 * kept


def cells(work: Workload, known: dict[str, Any]) -> float:
    """Dense counts of all domains, as many as the tables of a model may hold."""
    return GB * observation_gb(known, layers=work.observed_layers) / 8


def merged_bytes(work: Workload, job: Job, known: dict[str, Any]) -> float:
    layers = work.observed_layers or known["num_layers"]
    return 200.0 * layers * known["vocab_size"] + 0.4 * cells(work, known) + 6e6


def saturation(work: Workload, job: Job) -> Forwards:
    tokens, _ = work.observed_tokens(job.wildcards["model"])
    most = 16 * work.config["observation"]["batch_tokens"]
    loads = 1 + KEPT_CHECKPOINTS
    read = most if tokens is None else min(tokens, most)
    return Forwards(job.wildcards["model"], (Part(loads * read),), exact=False, loads=loads)


# --- calibrate


def calibration(work: Workload, job: Job) -> Forwards:
    return Forwards(job.wildcards["model"], (Part(work.config["calibration"]["tokens"]),))


def _logits(work: Workload, known: dict[str, Any]) -> float:
    """Router logits of a calibration text."""
    return work.config["calibration"]["tokens"] * known["num_layers"] * known["num_experts"]


def by_logits(start: float, each: float) -> Number:
    return of_structure(lambda work, job, known: start + each * _logits(work, known))


# --- evaluate


def experiment(work: Workload, job: Job) -> Forwards:
    name, tokens = job.wildcards["config"], work.tokens(job.wildcards["dataset"])
    part = Part(tokens.all + tokens.repeated, work.mean_experts(name), name)
    return Forwards(work.model, (part,), tokens.exact, shared=True)


def experiment_seconds(work: Workload, job: Job, known: dict[str, Any]) -> float:
    tokens = work.tokens(job.wildcards["dataset"])
    rows = (tokens.all + tokens.repeated) * known["num_layers"]
    return 1.1 + 8e-6 * rows + 5e-7 * rows * work.mean_experts(job.wildcards["config"])


def trace_bytes(work: Workload, name: str, dataset: str, *, logits: bool) -> float:
    """An experiment's two traces, with the router logits or without; the model's structure is known."""
    known, tokens = work.structure(work.model), work.tokens(dataset)
    row = ROW_BYTES + PAIR_BYTES * work.mean_experts(name)
    row += LOGIT_BYTES[work.dtype(work.model)] * known["num_experts"] if logits else 0
    return known["num_layers"] * (tokens.all + REPEAT_FACTOR * tokens.repeated) * row


def log_bytes(work: Workload, name: str, dataset: str, *, samples: int | None) -> float:
    """An experiment's internal log with so many samples spelled out (None: all); the structure is known."""
    whole = work.texts[dataset]["samples"]
    share = 1.0 if samples is None else min(1.0, samples / whole)
    row = LOG_ROW_BYTES + LOG_PAIR_BYTES * work.mean_experts(name)
    return 5e4 + share * work.structure(work.model)["num_layers"] * work.tokens(dataset).all * row


def experiment_bytes(work: Workload, job: Job, known: dict[str, Any]) -> float:
    name, dataset = job.wildcards["config"], job.wildcards["dataset"]
    log = log_bytes(work, name, dataset, samples=work.run_setting(name, "spelled_out_samples"))
    return 5e4 + log + trace_bytes(work, name, dataset, logits=work.keeps_logits(name))


def speed(work: Workload, job: Job) -> Forwards:
    speed = work.config["speed"]
    rounds = speed["rounds"] + 1  # the first warms up
    parts = []
    for name in work.configurations:
        experts = work.mean_experts(name)
        parts.append(Part(rounds * (speed["prefill_tokens"] + 32), experts, name))
        parts.append(Part(rounds * speed["decode_tokens"], experts, name, weight=DECODED))
    return Forwards(work.model, tuple(parts))


def assessment(work: Workload, job: Job) -> Forwards:
    wanted, total = work.config["evaluation"]["assessment_samples"], 0
    for name, entry in work.config["datasets"].items():
        total += work.tokens(name).all * wanted // entry["samples"]
    return Forwards(job.wildcards["model"], (Part(total),), exact=False)


def warehouse_seconds(work: Workload, job: Job, known: dict[str, Any]) -> float:
    tokens = sum(sum(work.tokens(name)[:2]) for name in work.config["datasets"])
    rows = tokens * known["num_layers"] * len(work.configurations)
    return 1.5 + 1.2e-6 * rows * known["num_experts"] / 64
