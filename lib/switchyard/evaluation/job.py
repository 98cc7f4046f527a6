"""One experiment from files to files: what a job of rule evaluate_experiment does, in whichever process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from switchyard.artifacts.digests import digests
from switchyard.artifacts.files import read_json, read_table
from switchyard.artifacts.stamps import stamp
from switchyard.errors import InputError
from switchyard.evaluation.experiment import count_sequences
from switchyard.evaluation.run import Files, write_experiment
from switchyard.models.kept import Loaded, load_kept
from switchyard.models.load import check_length
from switchyard.runtime.placement import hardware
from switchyard.runtime.progress import bar
from switchyard.study.experiment import REPEAT_SAMPLES, Experiment


class Prepared(NamedTuple):
    """An experiment with what it is run with."""

    experiment: Experiment
    rule: Any
    loaded: Loaded
    head: dict[str, Any]
    """What every file of it says about itself, with `provenance`."""


def evaluate(
    *,
    experiment: dict[str, Any],
    model: str,
    dataset: str,
    reads: dict[str, Any],
    files: dict[str, str],
    gpu_mem_gb: int,
    code: str,
) -> None:
    """Run one configuration on one dataset. All arguments are what JSON can hold.

    Args:
        experiment: `Experiment.as_json`.
        model: the folder of its model.
        dataset: its dataset, prepared.
        reads: files that the rule reads, by name (`study.experiment.build_rule`).
        files: results, by the names of `run.Files`.
        gpu_mem_gb: what the process leases of a card, if there is one.
        code: fingerprint of the library code.

    Raises:
        InputError: the rule, the model or the dataset cannot be used.
    """
    places = Files(**{name: Path(path) for name, path in files.items()})
    it, rule, loaded, head = prepare(
        experiment, model=model, dataset=dataset, reads=reads, gpu_mem_gb=gpu_mem_gb, code=code
    )
    table = read_table(dataset)
    total = count_sequences(table, it.samples) + count_sequences(table, min(it.samples, REPEAT_SAMPLES))
    with bar(total, f"{it.config} {it.dataset}", unit="sequences") as progress:
        write_experiment(
            loaded.model, loaded.tokenizer, it, rule, table, places, head=head, progress=progress.update
        )


def prepare(
    experiment: dict[str, Any],
    *,
    model: str,
    dataset: str,
    reads: dict[str, Any],
    gpu_mem_gb: int,
    code: str,
    settings: Mapping[str, Any] | None = None,
) -> Prepared:
    """Make what a job of an experiment needs; arguments as of `evaluate`.

    Args:
        settings: what the result depends on beside the experiment; it stands in the stamp.

    Raises:
        InputError: the rule or the model cannot be used.
    """
    it, folder = Experiment.from_json(experiment), Path(model)
    torch.set_num_threads(it.run.threads)
    check_length(folder, it.max_length)
    read = digests(reads)
    rule = it.build_rule(reads)
    structure = read_json(folder / "structure.json")
    check_packing(structure, it.model_entry, folder)
    head = it.head(rule, structure)
    loaded = load_kept(folder, it.dtype, gpu_mem_gb)
    made = stamp(
        code=code,
        config={**it.as_json(), **(settings or {})},
        inputs={"model": loaded.digest, "dataset": dataset, **read},
        model={"name": it.model, "dtype": it.dtype, "device": hardware(), **packing(it.model_entry)},
    )
    head["provenance"] = {**made, "experiment": it.as_json(), "rule": it.rule_as_run(rule)}
    return Prepared(it, rule, loaded, head)


def check_packing(structure: Mapping[str, Any], entry: Mapping[str, Any], folder: Path) -> None:
    """Refuse a prepared folder that loads its model in another format than the study's entry says.

    Raises:
        InputError: the two differ.
    """
    if structure.get("quantise") != entry.get("quantise"):
        raise InputError(
            f"models: {folder} is prepared with quantise {structure.get('quantise')}, the study says "
            f"{entry.get('quantise')}; remove the folder, then the same command makes it again"
        )


def packing(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What the stamp of a quantised model says of its weights."""
    return {"quantise": entry["quantise"]} if entry.get("quantise") else {}
