"""Studies and dry runs made up for the tests of the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from switchyard.planning.costs import RULES
from switchyard.planning.dag import ROOT, Dag, Job
from switchyard.planning.machine import Machine
from switchyard.planning.workload import Workload
from switchyard.study.config import merge, read, resolve

ROOMY = Machine(cores=4, mem_gb=1000.0, cards=0, gpu_mem_gb=0.0, free_gb=10_000.0)


def workload(directory: Path, study: str | None = None, **changes: Any) -> Workload:
    """A study of the project with some sections changed, in a folder with the shipped models."""
    if not (directory / "resources").exists():
        (directory / "resources").symlink_to(ROOT / "resources")
    config = read(ROOT / "config.yaml")
    if study:
        config = merge(config, read(ROOT / "studies" / study))
    config = merge(config, changes)
    return Workload(resolve(config, read(ROOT / "config.schema.yaml"), directory), directory)


def dag(work: Workload, *more: Job) -> Dag:
    """A job of every rule, for each model, dataset and configuration that it has, without resources."""
    axes = {
        "prepare_dataset": [{"dataset": name} for name in work.texts],
        "prepare_corpus": [{"corpus": name} for name in work.config["corpora"]],
        "solve_budget": [],
        "evaluate_experiment": [
            {"config": config, "dataset": dataset}
            for config in work.configurations
            for dataset in work.config["datasets"]
        ],
        **{
            name: [{"model": model} for model in work.config["models"]]
            for name in ("fetch_model", "observe_shard", "merge_shards", "measure_ceilings", "assess_model")
        },
        "train_pocket_model": [],
        "measure_saturation": [],
        "collect_router_logits": [{"model": work.model, "text": "calibration"}],
    }
    jobs = [
        Job(rule, wildcards, outputs=(f"{rule}-{number}",))
        for rule in RULES
        for number, wildcards in enumerate(axes.get(rule, [{}]))
    ]
    return Dag((*jobs, *more))
