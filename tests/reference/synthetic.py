"""Small random experiments for tests: routing decisions and scores in the layout of the real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from switchyard.artifacts.files import write_table
from switchyard.traces.writer import TraceWriter


class Routed(NamedTuple):
    """Stands in for Selection: what a rule chose for the rows of one layer."""

    experts: torch.Tensor
    weights: torch.Tensor
    count: torch.Tensor
    rejections: torch.Tensor | None = None


class Rows(NamedTuple):
    """Stands in for TokenContext: what each row of a forward is."""

    token_id: torch.Tensor
    sample: torch.Tensor
    sequence: torch.Tensor
    position: torch.Tensor
    is_token: torch.Tensor


class UniformNull(NamedTuple):
    """Stands in for NullDistribution: uniform between low and high."""

    low: float
    high: float

    def cdf_at(self, values: np.ndarray) -> np.ndarray:
        return np.clip((values - self.low) / (self.high - self.low), 0.0, 1.0)


def padded_rows(lengths: dict[tuple[int, int], int], rng: np.random.Generator, left: bool = False) -> Rows:
    """The rows of one right- or left-padded forward; `lengths` maps (sample, sequence) to its tokens."""
    width = max(lengths.values())
    columns: dict[str, list[int]] = {name: [] for name in Rows._fields}
    for (sample, sequence), length in lengths.items():
        real = (
            [False] * (width - length) + [True] * length
            if left
            else [True] * length + [False] * (width - length)
        )
        columns["token_id"] += rng.integers(0, 50, width).tolist()
        columns["sample"] += [sample] * width
        columns["sequence"] += [sequence] * width
        columns["position"] += (np.cumsum(real) - 1).clip(0).tolist()
        columns["is_token"] += real
    return Rows(**{name: torch.tensor(values) for name, values in columns.items()})


def route(
    logits: np.ndarray,
    counts: np.ndarray,
    rejections: np.ndarray | None = None,
    scramble: np.ndarray | None = None,
) -> Routed:
    """Choose the `counts` largest logits of each row; `scramble` [tokens, E] permutes the ranking."""
    experts = logits.shape[1]
    order = np.argsort(-logits, axis=1, kind="stable")
    if scramble is not None:
        order = np.take_along_axis(order, scramble, axis=1)
    slots = max(int(counts.max(initial=0)), 1)
    chosen = order[:, :slots].copy()
    weights = np.take_along_axis(np.exp(logits), chosen, axis=1) / np.exp(logits).sum(1, keepdims=True)
    unused = np.arange(slots) >= counts[:, None]
    chosen[unused], weights[unused] = experts, 0.0
    return Routed(
        experts=torch.from_numpy(chosen),
        weights=torch.from_numpy(weights.astype(np.float32)),
        count=torch.from_numpy(counts.astype(np.int64)),
        rejections=None if rejections is None else torch.from_numpy(rejections.astype(np.int64)),
    )


def write_trace(
    path: Path, forwards: list[tuple[Rows, list[tuple[np.ndarray, Routed]]]], **settings: Any
) -> None:
    """Write forwards of (rows, one (logits, decision) per layer) through the real writer."""
    experts = forwards[0][1][0][0].shape[1]
    with TraceWriter(path, num_experts=experts, num_layers=len(forwards[0][1]), **settings) as writer:
        for rows, layers in forwards:
            for layer, (logits, decision) in enumerate(layers):
                writer.observe(layer, torch.from_numpy(logits), decision, rows)


def random_forward(
    lengths: dict[tuple[int, int], int],
    rng: np.random.Generator,
    *,
    experts: int,
    layers: int,
    low: int,
    high: int,
    tested: bool,
    scramble: bool = False,
    left: bool = False,
) -> tuple[Rows, list[tuple[np.ndarray, Routed]]]:
    """A forward with counts drawn from low..high; `tested` gives it rejections that clamp to those counts."""
    rows = padded_rows(lengths, rng, left)
    tokens = len(rows.token_id)
    decisions = []
    for _ in range(layers):
        logits = rng.normal(size=(tokens, experts)).astype(np.float32)
        rejections = rng.integers(0, experts + 1, tokens)
        counts = rejections.clip(low, high)
        order = rng.permuted(np.tile(np.arange(experts), (tokens, 1)), axis=1) if scramble else None
        decisions.append((logits, route(logits, counts, rejections if tested else None, order)))
    return rows, decisions


def write_scores(path: Path | None, kind: str, tokens: dict[int, int], rng: np.random.Generator) -> pa.Table:
    """Scores of the samples in `tokens` (sample -> input tokens) with the columns that `kind` fills."""
    samples = sorted(tokens)
    options = 4 if kind == "choice" else 1
    shown = kind != "perplexity"
    columns = {
        "sample_id": pa.array(samples, pa.int64()),
        "text_preview": [f"sample {sample} “x”" for sample in samples],
        "log_likelihood": [(-rng.gamma(2.0, 3.0, options)).tolist() for _ in samples],
        "target_tokens": pa.array(
            [rng.integers(1, 6, options).tolist() for _ in samples], pa.list_(pa.int32())
        ),
        "tokens": pa.array([tokens[sample] for sample in samples], pa.int32()),
        "bytes": pa.array([None if shown else int(rng.integers(20, 90)) for _ in samples], pa.int64()),
        "words": pa.array([None if shown else int(rng.integers(4, 20)) for _ in samples], pa.int64()),
        "characters": pa.array(
            [[7, 8, 9, 10][:options] if kind == "choice" else None for _ in samples], pa.list_(pa.int32())
        ),
        "predicted": pa.array(
            [int(rng.integers(4)) if kind == "choice" else None for _ in samples], pa.int32()
        ),
        "predicted_norm": pa.array(
            [int(rng.integers(4)) if kind == "choice" else None for _ in samples], pa.int32()
        ),
        "target": pa.array([0 if kind == "choice" else None for _ in samples], pa.int32()),
        "correct": pa.array([bool(rng.integers(2)) if shown else None for _ in samples], pa.bool_()),
        "correct_norm": pa.array(
            [bool(rng.integers(2)) if kind == "choice" else None for _ in samples], pa.bool_()
        ),
        "greedy": pa.array([bool(rng.integers(2)) if kind == "cloze" else None for _ in samples], pa.bool_()),
        "argmax_ids": pa.array([rng.integers(0, 9, 3).tolist() for _ in samples], pa.list_(pa.int32())),
        "loss": pa.array(rng.gamma(2.0, 3.0, len(samples)), pa.float64()),
        "loss_tokens": pa.array(rng.integers(1, 6, len(samples)), pa.int32()),
    }
    table = pa.table(columns)
    if path is not None:
        write_table(path, table)
    return table
