"""Experiments on the tiny model, and where their files lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from switchyard.evaluation.run import Files
from switchyard.study.experiment import Experiment, Run

TOPK = Experiment(
    study="tiny",
    model="tiny",
    config="2experts_topk_baseline",
    dataset="made-up",
    rule="topk",
    home="switchyard.routing.topk:TopK",
    settings={"k": 2, "weighting": "model"},
    model_entry={"dtype": "float32"},
    dataset_entry={"max_length": 32, "samples": 5},
    run=Run(batch_tokens=64, threads=1, keep_logits=True, spelled_out_samples=None),
)
EXPERIMENTS = {
    "topk": TOPK,
    "bh": replace(
        TOPK,
        config="4experts_bh_a050",
        rule="bh",
        home="switchyard.routing.bh:BenjaminiHochberg",
        settings={
            "max_k": 4,
            "min_k": 1,
            "alpha": 0.5,
            "null_distribution": "pooled",
            "weighting": "model",
        },
    ),
}


def places(folder: Path) -> Files:
    names = {"trace": "traces", "scores": "scores", "log": "logs"}
    for part in names.values():  # as Snakemake does
        (folder / "evaluate/tiny" / part).mkdir(parents=True)
    paths = {name: folder / "evaluate/tiny" / part / "e.parquet" for name, part in names.items()}
    again = {f"{name}_repeat": paths[name].with_stem("e_repeat") for name in ("trace", "scores")}
    return Files(**{**paths, **again, "log": paths["log"].with_suffix(".json")})
