"""The shipped checkpoints in float32, and how close two ways to one log-likelihood must come."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from switchyard.models.load import load_model, load_tokenizer

RESOURCES = Path(__file__).parents[2] / "resources"


def tolerance(log_likelihood: float) -> float:
    """Largest difference that is rounding, in nats."""
    return max(1e-4, 2e-6 * abs(log_likelihood))


def level(log_likelihoods: list[float], lengths: list[int] | None = None) -> bool:
    """Whether the likeliest option, per character where `lengths` are given, leads by no more than rounding."""
    lengths = lengths or [1] * len(log_likelihoods)
    values = [value / length for value, length in zip(log_likelihoods, lengths, strict=True)]
    second, first = sorted(range(len(values)), key=values.__getitem__)[-2:]
    rounding = sum(tolerance(log_likelihoods[i]) / lengths[i] for i in (first, second))
    return values[first] - values[second] <= rounding


@cache
def shipped(name: str) -> tuple[Any, Any]:
    """A shipped model in float32, though stored in bfloat16, and its tokenizer."""
    return load_model(RESOURCES / name), load_tokenizer(RESOURCES / name)
