"""LAMBADA and HellaSwag here and in lm-evaluation-harness, each a fresh process from its start to the scores.

The same checkpoint in float32, the same documents, one thread on both sides, the model's own routing. Documents are in
the two sets' own columns, made of installed documentation. The harness is called as a library, with the two tasks
alone registered and without its bootstrap, which is quicker than its command line; at the best of several batch sizes.
Scores must agree before a ratio is reported.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from tests.reference import harness

from bench.paired import Line
from switchyard.artifacts.files import read_json, write_json
from switchyard.evaluation.experiment import run_experiment
from switchyard.models.load import load_model, load_tokenizer
from switchyard.runtime import workers
from switchyard.text.corpus import harvest
from switchyard.text.pocket import prepare_pocket
from switchyard.text.sources import load_rows
from switchyard.text.tasks import prepare

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "resources" / "pocket-olmoe"
DOCUMENTS = 200
MAX_LENGTH, BATCH_TOKENS = 256, 2048
BATCH_SIZES = (1, 8, 16, 32, 64)
ROUNDS = 7
JOB = "import json, sys; from switchyard.runtime.workers import call; call(**json.loads(sys.argv[1]))"
TASKS = {"lambada": ("lambada_openai", "cloze"), "hellaswag": ("hellaswag", "choice")}

Scores = Mapping[str, Mapping[str, float]]
"""Metrics by task."""


def lines(device: str) -> Iterator[Line]:
    """One thread on a CPU, as an experiment has."""
    with tempfile.TemporaryDirectory(prefix="switchyard-bench-") as place:
        folder = Path(place)
        write_documents(folder)
        best = min(BATCH_SIZES, key=lambda size: wall(lambda: theirs(folder, size, device)))
        check(ours(folder, device), theirs(folder, best, device))
        ratios = []
        for number in range(ROUNDS):
            pair = [lambda: theirs(folder, best, device), lambda: ours(folder, device)]
            order = pair if number % 2 else pair[::-1]
            times = {call: wall(call) for call in order}
            ratios.append(times[pair[0]] / times[pair[1]])
    what = f"LAMBADA + HellaSwag, {DOCUMENTS} documents each (times faster)"
    yield Line(what, f"lm-evaluation-harness, batch size {best}", ratios, ">= 1.5")


def wall(call: Callable[[], object]) -> float:
    """Seconds of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def write_documents(folder: Path) -> None:
    """The documents of both sets, as JSON Lines in the sets' own columns."""
    documents = harvest(("numpy", "scipy", "pandas"))
    corpus = pa.table({name: [getattr(one, name) for one in documents] for name in ("split", "text")})
    made = {
        "lambada": [{"text": f"{row['context']} {row['target']}"} for row in rows_of("cloze", corpus)],
        "hellaswag": [story(row) for row in rows_of("choice", corpus)],
    }
    for name, rows in made.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def rows_of(kind: str, corpus: pa.Table) -> list[dict[str, Any]]:
    return prepare_pocket(kind, corpus, samples=DOCUMENTS).slice(0, DOCUMENTS).to_pylist()


def story(row: dict[str, Any]) -> dict[str, Any]:
    """A question in the columns of HellaSwag."""
    texts = {"activity_label": "Reading", "ctx_a": row["context"], "ctx_b": ""}
    return {**texts, "endings": row["options"], "label": str(row["label"])}


def theirs(folder: Path, batch_size: int, device: str) -> Scores:
    """What the harness finds, in a process of its own."""
    runs = {
        name: harness.Run(task, str(folder / f"{name}.jsonl"), MAX_LENGTH, batch_size)
        for name, (task, _) in TASKS.items()
    }
    with tempfile.TemporaryDirectory(dir=folder) as own:
        found = harness.evaluate(MODEL, runs, Path(own), device=device)
    return {name: one["metrics"] for name, one in found.items()}


def ours(folder: Path, device: str) -> Scores:
    """What this library finds, in a process of its own that imports as a job does (`runtime.workers.call`)."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "lib")])
    environment.pop(workers.VARIABLE, None)
    request = {
        "function": "bench.harness:evaluate",
        "arguments": {"model": str(MODEL), "folder": str(folder), "device": device},
        "log": str(folder / "log"),
    }
    subprocess.run([sys.executable, "-c", JOB, json.dumps(request)], env=environment, check=True)
    return read_json(folder / "found.json")


def check(own: Scores, other: Scores) -> None:
    """Raises AssertionError where the two sides' scores are not the same; perplexity may differ by rounding."""
    for name, metrics in own.items():
        for metric, value in metrics.items():
            rounding = 2e-6 if metric == "perplexity" else 1e-12
            assert math.isclose(value, other[name][metric], rel_tol=rounding), (
                name,
                metric,
                value,
                other[name],
            )


def evaluate(model: str, folder: str, device: str) -> None:
    """Load, prepare and score both sets; leaves the scores in `found.json`."""
    loaded, tokenizer = load_model(Path(model)).to(device), load_tokenizer(Path(model))
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    for name, (_, kind) in TASKS.items():
        rows = load_rows({"source": "file", "path": f"{folder}/{name}.jsonl"})
        table = prepare(rows, kind=kind, layout=name)
        limits = {"max_length": MAX_LENGTH, "samples": None, "batch_tokens": BATCH_TOKENS}
        scores = run_experiment(loaded, tokenizer, None, table, **limits)
        found[name] = {"acc": pc.mean(scores["correct"]).as_py()}
        if kind == "choice":
            found[name]["acc_norm"] = pc.mean(scores["correct_norm"]).as_py()
        else:
            found[name]["perplexity"] = math.exp(pc.mean(scores["loss"]).as_py())
    write_json(Path(folder) / "found.json", found)
