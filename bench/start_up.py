"""What an evaluation costs before its first forward, against importing torch and the model class.

Every side is a fresh process, and the clock is the machine's: from the start of the process to the moment after the
import, or before the first module of the model is called. An evaluation is what a job of rule evaluate_experiment
does, with its provenance, its rule and its dataset; alone, and in a worker that has done one before.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from bench.paired import Line
from switchyard.artifacts.files import write_json
from switchyard.evaluation import job
from switchyard.models.blocks import describe
from switchyard.models.load import load_config
from switchyard.routing.nulls import NullDistribution, nulls_table
from switchyard.runtime import workers
from switchyard.study.configurations import Configuration
from switchyard.text.sources import Rows
from switchyard.text.tasks import prepare

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "resources" / "pocket-olmoe"
ROUNDS = 7
TEXT = "Return the mean of the array elements along the given axis. "

TORCH = "import torch"
CLASS = f"{TORCH}; from transformers.models.olmoe import modeling_olmoe"
TIME = "import time; print(time.monotonic())"
JOB = "import json, sys; from switchyard.runtime.workers import call; call(**json.loads(sys.argv[1]))"


def lines(device: str) -> Iterator[Line]:
    """One thread on a CPU, as an experiment has."""
    with tempfile.TemporaryDirectory(prefix="switchyard-bench-") as place:
        request = study(Path(place))
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'lib'}", "OMP_NUM_THREADS": "1"}
        os.environ.update(environment)
        workers.start(idle_s=60)
        try:
            times = rounds(request, Path(place), environment)
        finally:
            os.environ.pop(workers.VARIABLE, None)
    imported = times["class"]

    def over(name: str) -> list[float]:
        return [one / other for one, other in zip(times[name], imported)]

    against = "importing torch and the model class"
    yield Line("evaluation alone, process start to first forward", against, over("alone"), "<= 1.3")
    yield Line("evaluation in a worker that has done one", against, over("worker"), "<= 1.3")
    yield Line("importing torch alone", against, over("torch"), "")


def rounds(request: dict[str, Any], place: Path, environment: dict[str, str]) -> dict[str, list[float]]:
    """Seconds of each start in each round, one after the other, in an order that is rotated."""
    alone = {name: value for name, value in environment.items() if name != workers.VARIABLE}
    shared = {**alone, **{name: os.environ[name] for name in [workers.VARIABLE] if name in os.environ}}
    calls = {
        "torch": lambda: import_seconds(TORCH, alone),
        "class": lambda: import_seconds(CLASS, alone),
        "alone": lambda: job_seconds(request, place, alone),
        "worker": lambda: job_seconds(request, place, shared),
    }
    found: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for number in range(ROUNDS + 1):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            took = calls[name]()
            if number:
                found[name].append(took)
    return found


def import_seconds(statement: str, environment: dict[str, str]) -> float:
    """From the start of a process to the end of an import in it."""
    start = time.monotonic()
    command = [sys.executable, "-c", f"{statement}; {TIME}"]
    ended = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    return float(ended) - start


def job_seconds(request: dict[str, Any], place: Path, environment: dict[str, str]) -> float:
    """From the start of a job to its first forward."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", JOB, json.dumps(request)], env=environment, check=True)
    return float((place / "forward").read_text()) - start


def evaluate(*, mark: str, **arguments: Any) -> None:
    """A job's work, ended where the first forward begins; the time is left in the file `mark`."""

    def end(*_: object) -> None:
        Path(mark).write_text(str(time.monotonic()))
        raise SystemExit(0)

    torch.nn.modules.module.register_module_forward_pre_hook(end)
    job.evaluate(**arguments)


def study(place: Path) -> dict[str, Any]:
    """The request of one job (`runtime.workers.call`): the shipped model, a page of text, BH and its nulls."""
    folder = place / "model"
    shutil.copytree(MODEL, folder)
    structure = describe(load_config(folder))
    write_json(folder / "structure.json", structure)
    pages = Rows([{"text": TEXT * 20}], ("text",), ("made",))
    pq.write_table(prepare(pages, kind="perplexity", layout="plain"), place / "text.parquet")
    null = NullDistribution(np.linspace(-8, 8, 2000), np.linspace(0, 1, 2000))
    pq.write_table(nulls_table([{"pooled": null}] * structure["num_layers"]), place / "nulls.parquet")
    settings = {"max_k": 8, "alpha": 0.3, "null_distribution": "pooled", "weighting": "model"}
    setting = Configuration("8experts_bh_a030", "BH", "bh", "bh", settings, {}).job
    results = place / "evaluate"
    files = ("traces/t.parquet", "scores/t.parquet", "traces/r.parquet", "scores/r.parquet", "logs/t.json")
    arguments = {
        "mark": str(place / "forward"),
        "identity": {"study": "bench", "model": "pocket-olmoe", "dataset": "text", "setting": setting},
        "model": str(folder),
        "dtype": "float32",
        "dataset": str(place / "text.parquet"),
        "reads": {"nulls": str(place / "nulls.parquet")},
        "files": [str(results / name) for name in files],
        "max_length": 256,
        "samples": 1,
        "run": {"threads": 1, "batch_tokens": 8192, "keep_logits": True, "spelled_out_samples": None},
        "gpu_mem_gb": 0,
        "code": "",
    }
    return {
        "function": "bench.start_up:evaluate",
        "arguments": arguments,
        "log": str(place / "log"),
    }
