"""A point of VAR's sweep token by token: routes from a dict, losses one sequence at a time, sums by loops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from reference.likelihood import log_likelihood
from switchyard.evaluation.sequences import Sample
from switchyard.routing import Selection, TokenContext, attach

Route = Callable[[int, int, list[float]], tuple[list[int], list[float]] | None]
"""(layer, token id, probabilities of all experts) -> experts and weights, or None for the model's own router."""


@dataclass
class TokenByToken:
    """A rule that asks `route` for every token; what it has no route for gets the `top_k` most probable experts."""

    route: Route
    top_k: int
    normalise: bool
    looked_up: int = 0
    tokens: int = 0
    experts: int = 0
    limits: tuple[int, int] = field(default=(0, 99))

    def select(self, logits: torch.Tensor, layer: int, context: TokenContext | None = None) -> Selection:
        rows, num_experts = logits.shape
        experts = torch.full((rows, self.top_k), num_experts)
        weights, count = torch.zeros(rows, self.top_k), torch.zeros(rows, dtype=torch.int64)
        for row in range(rows):
            probabilities = logits[row].float().softmax(dim=0).tolist()
            route = self.route(layer, int(context.token_id[row]), probabilities)
            if route is None:
                order = sorted(range(num_experts), key=lambda one: (-probabilities[one], one))[: self.top_k]
                own = [probabilities[one] for one in order]
                route = order, ([one / sum(own) for one in own] if self.normalise else own)
            else:
                self.looked_up += 1
            self.tokens += 1
            self.experts += len(route[0])
            count[row] = len(route[0])
            experts[row, : count[row]] = torch.tensor(route[0])
            weights[row, : count[row]] = torch.tensor(route[1])
        return Selection(experts, weights, count)


def losses(model: Any, samples: list[Sample], rule: TokenByToken | None) -> tuple[list[float], list[int]]:
    """Nats and target tokens of each sample of running text."""
    found, tokens = [], []
    with attach(model, rule, own_when_full=False):
        for sample in samples:
            (sequence,) = sample.sequences
            values, _ = log_likelihood(model, list(sequence.input_ids), list(sequence.target_ids))
            found.append(-sum(values))
            tokens.append(len(values))
    return found, tokens


def most_used(rows: list[dict[str, int]], top_k: int) -> dict[int, list[int]]:
    """The `top_k` most used experts of each layer, ties to the lower index."""
    uses: dict[int, Counter[int]] = {}
    for row in rows:
        uses.setdefault(row["layer"], Counter())[row["expert"]] += row["count"]
    return {
        layer: sorted(own, key=lambda one: (-own[one], one))[:top_k] for layer, own in sorted(uses.items())
    }
