"""One run of a rule over samples: its losses, where its tokens were routed, and what that uses of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from switchyard.evaluation.experiment import run_samples
from switchyard.evaluation.sequences import Sample
from switchyard.routing.attachment import attach
from switchyard.routing.weighting import router_probabilities
from switchyard.var.performance import PATHS
from switchyard.var.router import VARRouter


class Run(NamedTuple):
    """What a rule did on the samples."""

    loss: np.ndarray  # [samples] nats
    tokens: np.ndarray  # [samples] targets
    shares: dict[str, float]  # of the tokens of all MoE blocks, by path


class Use(NamedTuple):
    """What the tokens of a run used, means over tokens and MoE blocks."""

    mean_experts: float
    router_share: float
    """Share of the rows whose router ran."""
    acting_share: float
    """Share of the rows that were not routed as by the untouched model."""


def run_rule(
    model: torch.nn.Module,
    tokenizer: Any,
    kind: str,
    samples: list[Sample],
    batch_tokens: int,
    rule: Any,
    observer: Callable[..., None] | None = None,
    own_when_full: bool = False,
) -> Run:
    """Run a rule, None for the untouched model, over samples.

    A rule without paths has all its tokens on the learned one. `own_when_full`: see `attach`.

    Raises:
        NotANumber: logits or log-likelihoods are no numbers.
    """
    with attach(model, rule, observer=observer, own_when_full=own_when_full) as attachment:
        scores = run_samples(model, tokenizer, attachment, kind, samples, batch_tokens)
    percent = dict.fromkeys(PATHS, 0.0) | {"learned": 100.0}
    if isinstance(rule, VARRouter):
        percent = attachment.rule.performance_stats()["overall"]["routing_distribution"]
    return Run(
        scores["loss"].to_numpy(),
        scores["loss_tokens"].to_numpy().astype(float),
        {path: percent[path] / 100 for path in PATHS},
    )


def confidences_into(found: list[np.ndarray]) -> Callable[..., None]:
    """An observer that appends the largest router probability of real tokens, [tokens], for each forward and layer."""

    def observe(layer: int, logits: torch.Tensor, selection: Any, context: Any) -> None:
        found.append(router_probabilities(logits).amax(dim=1)[context.is_token].cpu().numpy())

    return observe


def looked_up_use(shares: Mapping[str, float], used: int, most: int, route_weights: str | None) -> Use:
    """What a run with these shares of its paths used: `used` experts on the fast path, `most` on the others.

    Looked-up rows need no router where their weights are stored too (`route_weights` is `table`).
    """
    experts = shares["fast"] * used + (1 - shares["fast"]) * most
    router = shares["learned"] if route_weights == "table" else 1.0
    return Use(experts, router, shares["fast"] + shares["cached"])
