"""What a full lossless trace costs an evaluation, and how large it is.

The shipped OLMoE on windows of documentation, under its trained top-8 and under BH of at most 8 experts: an
evaluation that writes a trace against the same evaluation that writes none. Sizes are of whole files, metadata
included, against the router logits alone in the model's precision. Before anything is timed, every trace is read
back and compared with what the writer was shown.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from bench.paired import Line, ratios, seconds
from switchyard.evaluation.experiment import run_experiment
from switchyard.evaluation.router_logits import collect_router_logits
from switchyard.models.load import load_model, load_tokenizer
from switchyard.routing import BenjaminiHochberg, TopK, fit_nulls
from switchyard.text.corpus import harvest
from switchyard.text.pocket import prepare_pocket
from switchyard.traces.reader import Trace
from switchyard.traces.writer import TraceWriter

MODEL = Path(__file__).parents[1] / "resources" / "pocket-olmoe"
TRAINED, EXPERTS, LAYERS = 8, 64, 4
MAX_LENGTH, BATCH_TOKENS = 256, 8192
TIMED_WINDOWS, SIZED_WINDOWS = 48, 16
BYTES = {"float32": 4, "bfloat16": 2}
TARGETS = {"top-8": "<= 1.15", "BH, max 8": "<= 1.15", "BH, max 64": "<= 2.1", "top-64": "<= 2.1"}


def lines(device: str) -> Iterator[Line]:
    """One thread on a CPU, as an experiment has."""
    torch.set_num_threads(1)
    text = documentation()
    with tempfile.TemporaryDirectory(prefix="switchyard-bench-") as folder:
        for dtype in BYTES:
            evaluation = Evaluation(text, dtype, device, Path(folder) / "trace.parquet")
            rules = rules_of(evaluation)
            sizes = {name: evaluation.relative_size(rule) for name, rule in rules.items()}
            if dtype == "float32":
                yield from timed(evaluation, rules, device)
            for name, size in sizes.items():
                yield Line(f"trace size, {dtype}, {name}", f"router logits, {dtype}", [size], TARGETS[name])


def documentation() -> pa.Table:
    """Beginnings of installed documentation, as a dataset of kind perplexity."""
    documents = harvest(("numpy",))
    columns = {name: [getattr(one, name) for one in documents] for name in ("split", "text")}
    return prepare_pocket("perplexity", pa.table(columns), samples=None)


class Evaluation:
    """The same evaluation under any rule, with a trace or without."""

    def __init__(self, text: pa.Table, dtype: str, device: str, path: Path) -> None:
        self.text, self.dtype, self.path = text, dtype, path
        self.model, self.tokenizer = load_model(MODEL, dtype=dtype).to(device), load_tokenizer(MODEL)

    def plain(self, rule: Any, samples: int = TIMED_WINDOWS, trace_writer: Any = None) -> pa.Table:
        """The scores."""
        return run_experiment(
            self.model,
            self.tokenizer,
            rule,
            self.text,
            max_length=MAX_LENGTH,
            samples=samples,
            batch_tokens=BATCH_TOKENS,
            trace_writer=trace_writer,
        )

    def traced(self, rule: Any) -> pa.Table:
        """The scores, and the trace in a file."""
        with TraceWriter(self.path, num_experts=EXPERTS, num_layers=LAYERS) as writer:
            return self.plain(rule, trace_writer=writer)

    def relative_size(self, rule: Any) -> float:
        """Bytes of a trace, which is read back and checked, over the bytes of its router logits alone."""
        with TraceWriter(self.path, num_experts=EXPERTS, num_layers=LAYERS) as writer:
            kept = Kept(writer)
            self.plain(rule, SIZED_WINDOWS, kept)
        kept.check(Trace(self.path))
        return self.path.stat().st_size / (writer.rows * EXPERTS * BYTES[self.dtype])


def rules_of(evaluation: Evaluation) -> dict[str, Any]:
    """Static and adaptive rules, the pooled null fitted on the text's own first tokens."""
    limits = {"tokens": 2048, "max_length": MAX_LENGTH, "batch_tokens": BATCH_TOKENS}
    logits = collect_router_logits(evaluation.model, evaluation.tokenizer, evaluation.text, **limits)
    null = [fit_nulls(layer, TRAINED)["pooled"] for layer in logits]
    return {
        "top-8": TopK(TRAINED),
        "BH, max 8": BenjaminiHochberg(0.30, 8, null=null),
        "BH, max 64": BenjaminiHochberg(0.60, 64, null=null),
        "top-64": TopK(EXPERTS),
    }


def timed(evaluation: Evaluation, rules: Mapping[str, Any], device: str) -> Iterator[Line]:
    """With a trace against without."""
    for name in ("top-8", "BH, max 8"):
        rule = rules[name]
        calls = {"traced": lambda: evaluation.traced(rule), "plain": lambda: evaluation.plain(rule)}  # noqa: B023
        times = seconds(calls, device=device)
        yield Line(f"evaluation with trace, {name}", "without", ratios(times, "traced", "plain"), "<= 1.20")


class Kept:
    """Shows a writer what it is shown, and keeps it: the rows of a trace by (sample, sequence, layer, position)."""

    def __init__(self, writer: TraceWriter) -> None:
        self.writer = writer
        self.rows: dict[tuple[int, ...], tuple[Any, ...]] = {}

    def observe(self, layer: int, logits: Any, selection: Any, context: Any) -> None:
        """An observer of `attach`."""
        self.writer.observe(layer, logits, selection, context)
        places = zip(context.sample.tolist(), context.sequence.tolist(), context.position.tolist())
        logits, weights = logits.float().cpu().numpy(), selection.weights.float().cpu().numpy()
        experts, tokens = selection.experts.cpu().numpy(), context.token_id.tolist()
        for row, (sample, sequence, position) in enumerate(places):
            count = int(selection.count[row])
            found = tokens[row], count, experts[row, :count], weights[row, :count], logits[row]
            if position >= 0:
                self.rows[sample, sequence, layer, position] = found

    def check(self, trace: Trace) -> None:
        """Raises AssertionError where a trace holds anything else."""
        assert trace.rows == len(self.rows)
        for part in trace.forwards():
            places = zip(
                *(getattr(part, key).tolist() for key in ("sample_id", "sequence", "layer", "position"))
            )
            for row, place in enumerate(places):
                start, end = part.offsets[row : row + 2]
                read = part.token_id[row], part.count[row], part.experts[start:end], part.weights[start:end]
                shown = self.rows[place]
                assert all(np.array_equal(a, b) for a, b in zip((*read, part.router_logits[row]), shown)), (
                    place
                )
