"""What routers of other families than softmax, then top-k compute, token by token in float64, from their logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from switchyard.models.blocks import find_moe_blocks


class Answer(NamedTuple):
    """What a model's own router said of one token."""

    logits: list[float]
    experts: set[int]
    """The trained top-k, as the router itself chose them."""


class Listener:
    """Keeps the answers of a model's routers, layer by layer, of the forward that ran last."""

    def __init__(self, model: Any) -> None:
        self.answers: dict[int, list[Answer]] = {}
        for block in find_moe_blocks(model):
            block.router.forward = partial(self._ask, block.layer, block.router.forward)

    def _ask(self, layer: int, gate: Callable[..., Any], *inputs: torch.Tensor) -> Any:
        logits, weights, experts = gate(*inputs)
        self.answers[layer] = [
            Answer(row, set(own)) for row, own in zip(logits.double().tolist(), experts.tolist(), strict=True)
        ]
        return logits, weights, experts


def probabilities(score: str, logits: Sequence[float]) -> list[float]:
    """Softmax of all logits, or the sigmoid of each."""
    if score == "sigmoid":
        return [1 / (1 + math.exp(-logit)) for logit in logits]
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return [power / sum(powers) for power in powers]


def shares(score: str, logits: Sequence[float]) -> list[float]:
    """Probabilities divided by their sum."""
    found = probabilities(score, logits)
    return [one / sum(found) for one in found]


def entropy(parts: Sequence[float]) -> float:
    """Nats."""
    return -math.fsum(part * math.log(part) for part in parts if part > 0)
