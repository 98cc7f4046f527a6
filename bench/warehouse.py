"""The warehouse over 60 traces of OLMoE's size, against decoding and against reading the same files; its memory.

Four experiments are made up, written as an evaluation writes them, and copied: a copy has bytes of its own on the
disk and in the page cache, so that nothing is read twice for one experiment. The rounds are the experiments of one
build: after each has been counted, its files are decoded by DuckDB on as many threads and read, so that what else
runs on the machine falls on all of them. Before it is counted its files are dropped from the page cache and read
once more, which brings them back.

    BENCH_TRACES=4 BENCH_TOKENS=5000 python -m bench warehouse    a look in seconds

At full size it writes 12 GB to the folder for temporary files, which TMPDIR names.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import torch

from bench.paired import Line, ratios
from switchyard.artifacts.files import write_table
from switchyard.evaluation.scores import SCHEMA
from switchyard.routing.selection import Selection, TokenContext
from switchyard.traces.reader import Trace
from switchyard.traces.schema import COLUMNS, LOGITS
from switchyard.traces.writer import TraceWriter
from switchyard.warehouse.build import build
from switchyard.warehouse.database import THREADS, open_read_only

TRACES = int(os.environ.get("BENCH_TRACES", "60"))
TOKENS = int(os.environ.get("BENCH_TOKENS", "100000"))
DISTINCT = 4
SPARE_BYTES = 4e9
"""Of the disk, left free; fewer traces are written where they do not fit."""

LAYERS, EXPERTS, TRAINED_TOP_K, SLOTS = 16, 64, 8, 16
LENGTH, BATCH = 500, 20
"""Tokens of a sample; samples of a forward, and of the repeat."""

THRESHOLD = 1.15
"""Standard normal logits above it get their expert: 8 of 64 on average."""

MEMORY = 4e9
STRUCTURE = {
    "hidden_size": 2048,
    "intermediate_size": 1024,
    "num_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 128,
    "vocab_size": 50304,
}
FILES = ("trace", "trace_repeat", "scores", "scores_repeat")


def lines(device: str) -> Iterator[Line]:
    """One thread makes the files; the warehouse has its own number of threads."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="switchyard-bench-") as place:
        folder = Path(place)
        experiments = synthesise(folder)
        rounds = Rounds(experiments)
        count(folder, experiments, rounds)
        times = rounds.finished()
        check(folder, experiments[0])
        size = sum(one[name].stat().st_size for one in experiments for name in FILES) / 1e9
        what = f"warehouse over {len(experiments)} traces of {LAYERS} x {TOKENS:,} ({size:.1f} GB)"
        yield Line(f"{what}: speed", "DuckDB decoding all columns", ratios(times, "scan", "count"), ">= 0.40")
        yield Line(f"{what}: time", "reading their bytes from memory", ratios(times, "count", "read"), "")
        yield Line(f"{what}: time", "reading their bytes from the disk", ratios(times, "count", "cold"), "")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peak = pool.apply(peak_memory, (folder, experiments))
        yield Line(f"{what}: peak memory", "4 GB", [peak / MEMORY], "<= 1.0")


class Rounds:
    """Seconds of each experiment: counted by the build that calls it, decoded, and read from memory and disk."""

    def __init__(self, experiments: list[dict[str, Any]]) -> None:
        self.experiments = experiments
        self.times: dict[str, list[float]] = {"count": [], "scan": [], "read": [], "cold": []}
        self.connection = duckdb.connect(config={"threads": THREADS})
        self._scan = lambda one: decode(self.connection, one)
        self._time("scan", self._scan, 0)
        self.times["scan"].clear()
        self._bring(0)

    def __call__(self, done: int, total: int) -> None:
        """Progress of a build: an experiment has just been counted."""
        self.times["count"].append(time.perf_counter() - self.start)
        order = [("scan", self._scan), ("read", read)]
        for name, call in order if done % 2 else order[::-1]:
            self._time(name, call, done - 1)
        self._bring(done)

    def finished(self) -> dict[str, list[float]]:
        """The times; every experiment carries its share of what the build does once, after the last."""
        share = (time.perf_counter() - self.start) / len(self.experiments)
        self.connection.close()
        return self.times | {"count": [one + share for one in self.times["count"]]}

    def _bring(self, number: int) -> None:
        if number < len(self.experiments):
            drop(self.experiments[number])
            self._time("cold", read, number)
        self.start = time.perf_counter()

    def _time(self, name: str, call: Callable[[dict[str, Any]], object], number: int) -> None:
        start = time.perf_counter()
        call(self.experiments[number])
        self.times[name].append(time.perf_counter() - start)


def count(folder: Path, experiments: list[dict[str, Any]], progress: Rounds | None = None) -> None:
    """What is measured: the study's database."""
    build(
        folder / "study.duckdb",
        experiments=experiments,
        structure=STRUCTURE,
        study_folder=folder,
        progress=progress,
    )


def peak_memory(folder: Path, experiments: list[dict[str, Any]]) -> float:
    """Bytes at the peak of a process that builds the database and nothing else.

    ru_maxrss would not do: it remembers the process that this one was started from.
    """
    count(folder, experiments)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def decode(connection: duckdb.DuckDBPyConnection, one: dict[str, Any]) -> None:
    """Decode every column of the traces, and of the scores; a sum, because a maximum stands in the footer."""
    first = "[1]"
    lists = ("experts", "weights", LOGITS)
    sums = ", ".join(f"sum({name}{first if name in lists else ''})" for name in (*COLUMNS, LOGITS))
    for query, files in (
        (sums, ("trace", "trace_repeat")),
        ("count(COLUMNS(*))", ("scores", "scores_repeat")),
    ):
        connection.execute(f"SELECT {query} FROM read_parquet(?)", [[str(one[name]) for name in files]])
        connection.fetchall()


def read(one: dict[str, Any]) -> None:
    """Every byte of the files, a megabyte at a time."""
    buffer = bytearray(1 << 20)
    for name in FILES:
        with open(one[name], "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def drop(one: dict[str, Any]) -> None:
    """Take the files out of the page cache, where the system can; what lies below it keeps its own."""
    for name in FILES if hasattr(os, "posix_fadvise") else ():
        with open(one[name], "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def check(folder: Path, one: dict[str, Any]) -> None:
    """The first experiment's mean count and entropy are those of plain NumPy."""
    total, nats = 0, 0.0
    for rows in Trace(one["trace"]).forwards():
        powers = np.exp(rows.router_logits.astype(np.float64))
        shares = powers / powers.sum(axis=1, keepdims=True)
        nats -= (shares * np.log(shares)).sum()
        total += int(rows.count.sum())
    with open_read_only(folder / "study.duckdb") as connection:
        found = connection.execute("SELECT avg_experts, routing_entropy FROM quality LIMIT 1").fetchone()
    np.testing.assert_allclose(found, np.array([total, nats]) / (LAYERS * TOKENS), rtol=1e-12)


def synthesise(folder: Path) -> list[dict[str, Any]]:
    """Experiments with their files, `DISTINCT` made and the others copied, as many as the disk takes."""
    made = [write(folder, number) for number in range(min(DISTINCT, TRACES))]
    size = sum(made[0][name].stat().st_size for name in FILES)
    room = int((shutil.disk_usage(folder).free - SPARE_BYTES) // size)
    for number in range(len(made), len(made) + min(TRACES - len(made), max(room, 0))):
        one = head(folder, number)
        for name in FILES:
            shutil.copyfile(made[number % DISTINCT][name], one[name])
        made.append(one)
    return made


def head(folder: Path, number: int) -> dict[str, Any]:
    """What the build needs to know of one experiment."""
    return {
        **{name: folder / f"{name}_{number}.parquet" for name in FILES},
        **{"schema_version": 1, "study": "bench", "model": "olmoe", "set_name": "bh", "label": "BH"},
        **{"config": f"{SLOTS}experts_{number}", "dataset": "text", "kind": "perplexity", "strategy": "bh"},
        **{"min_k": 1, "k_or_max_k": SLOTS, "alpha": 0.3, "null": "pooled", "weighting": "model"},
        **{"num_experts": EXPERTS, "num_layers": LAYERS, "trained_top_k": TRAINED_TOP_K, "provenance": {}},
    }


def write(folder: Path, number: int) -> dict[str, Any]:
    """One experiment's files; its first forward is run again as the repeat."""
    one = head(folder, number)
    samples = range(TOKENS // LENGTH)
    for trace, scores, these in (
        ("trace", "scores", samples),
        ("trace_repeat", "scores_repeat", samples[:BATCH]),
    ):
        with TraceWriter(one[trace], num_experts=EXPERTS, num_layers=LAYERS) as writer:
            for first in these[::BATCH]:
                forward(writer, these[first : first + BATCH], number)
        write_table(one[scores], scores_of(these))
    return one


def forward(writer: TraceWriter, samples: range, seed: int) -> None:
    """Random logits in bfloat16, and those above the threshold chosen."""
    torch.manual_seed(seed << 20 | samples[0])
    tokens = len(samples) * LENGTH
    context = TokenContext(
        token_id=torch.randint(STRUCTURE["vocab_size"], (tokens,)),
        sample=torch.tensor(samples).repeat_interleave(LENGTH),
        sequence=torch.zeros(tokens, dtype=torch.int64),
        position=torch.arange(tokens) % LENGTH,
        is_token=torch.ones(tokens, dtype=torch.bool),
    )
    for layer in range(LAYERS):
        logits = torch.randn(tokens, EXPERTS).bfloat16()
        weights, experts = torch.topk(torch.softmax(logits, dim=-1, dtype=torch.float32), SLOTS)
        rejections = (logits > THRESHOLD).sum(dim=-1)
        writer.observe(
            layer, logits, Selection(experts, weights, rejections.clamp(1, SLOTS), rejections), context
        )


def scores_of(samples: range) -> pa.Table:
    """Scores as of running text; the predictions are every token's own number."""
    one = {"text_preview": "made up", "log_likelihood": [-2.0 * LENGTH], "target_tokens": [LENGTH]}
    one |= {
        "tokens": LENGTH,
        "bytes": 4 * LENGTH,
        "words": LENGTH,
        "loss": 2.0 * LENGTH,
        "loss_tokens": LENGTH,
    }
    one |= {"argmax_ids": list(range(LENGTH))}
    return pa.Table.from_pylist([{"sample_id": sample, **one} for sample in samples], schema=SCHEMA)
