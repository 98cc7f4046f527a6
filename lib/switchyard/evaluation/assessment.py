"""How good an untouched model is: its quality against chance, and how evenly each layer uses its experts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from switchyard.evaluation.experiment import run_experiment
from switchyard.text.kinds import kind_of

LEAST_LETTERS = 4
"""Shorter words are mostly function words, which a cloze seldom asks for: leaving them out makes chance higher."""

_WORD = re.compile(rf"[A-Za-z]{{{LEAST_LETTERS},}}")


class UsageCounter:
    """An observer that counts how often each expert of each layer is chosen."""

    def __init__(self, num_layers: int, num_experts: int) -> None:
        self.uses = np.zeros((num_layers, num_experts + 1), np.int64)  # the last column takes unused slots

    def observe(self, layer: int, logits: Any, selection: Any, context: Any) -> None:
        """Count `selection.experts` [tokens, slots] of one layer, without padding (an `attach` observer)."""
        chosen = selection.experts[context.is_token].flatten().cpu().numpy()
        self.uses[layer] += np.bincount(chosen, minlength=self.uses.shape[1])

    def balance(self) -> list[dict[str, float]]:
        """Per layer: experts used at all, and the busiest expert's share over the even share."""
        uses = self.uses[:, :-1]
        busiest = uses.max(1) / uses.mean(1)
        return [
            {
                "layer": layer,
                "experts_used": int((uses[layer] > 0).sum()),
                "busiest_over_even": float(busiest[layer]),
            }
            for layer in range(len(uses))
        ]


def assess(
    model: torch.nn.Module,
    tokenizer: Any,
    datasets: dict[str, pa.Table],
    *,
    structure: dict[str, Any],
    max_length: dict[str, int],
    samples: int,
    batch_tokens: int,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Quality of the untouched model per dataset, and the balance of its experts over all of them.

    Returns:
        `datasets`: per name kind, samples, and `perplexity`, or `accuracy`, `standard_error` and `chance`;
        `layers`: see `UsageCounter.balance`.
    """
    counter = UsageCounter(structure["num_layers"], structure["num_experts"])
    found = {}
    for name, table in datasets.items():
        scores = run_experiment(
            model,
            tokenizer,
            None,
            table,
            max_length=max_length[name],
            samples=samples,
            batch_tokens=batch_tokens,
            trace_writer=counter,
            progress=progress,
        )
        found[name] = {
            "kind": kind_of(table),
            "samples": len(scores),
            **_quality(kind_of(table), table, scores),
        }
    return {"datasets": found, "layers": counter.balance()}


def _quality(kind: str, table: pa.Table, scores: pa.Table) -> dict[str, float]:
    if kind == "perplexity":
        loss = sum(scores["loss"].to_pylist()) / sum(scores["loss_tokens"].to_pylist())
        return {"perplexity": math.exp(loss)}
    right = np.array(scores["correct_norm" if kind == "choice" else "correct"].to_pylist(), float)
    accuracy = float(right.mean())
    return {
        "accuracy": accuracy,
        "standard_error": math.sqrt(accuracy * (1 - accuracy) / len(right)),
        "chance": chance(kind, table.slice(0, len(right))),
    }


def chance(kind: str, table: pa.Table) -> float:
    """Choice: one over the number of options. Cloze: always the passage's most frequent word."""
    if kind == "choice":
        return float(np.mean([1 / len(options) for options in table["options"].to_pylist()]))
    rows = zip(table["context"].to_pylist(), table["target"].to_pylist())
    return float(np.mean([most_frequent_word(context) == target for context, target in rows]))


def most_frequent_word(text: str) -> str:
    """The most frequent word of at least `LEAST_LETTERS` letters, the earlier one when tied; empty if there is none."""
    words = _WORD.findall(text)
    return max(dict.fromkeys(words), key=words.count) if words else ""
