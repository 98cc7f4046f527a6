"""Statistics of routing in plain loops over tokens: slow, obvious, and independent of the library."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Routed(NamedTuple):
    """What one token did in one layer."""

    entropy: float
    confidence: float
    top: int
    used: list[int]
    probabilities: list[float]


def routed(logits: Tensor, top_k: int) -> Routed:
    """One token's logits [num_experts], by the softmax in float32."""
    probabilities = torch.softmax(logits.float(), dim=-1)
    entropy = torch.special.entr(probabilities).sum().item()  # -p ln p, 0 for p = 0
    values = logits.float().tolist()
    experts = sorted(range(len(values)), key=lambda expert: (-values[expert], expert))
    return Routed(entropy, probabilities.max().item(), experts[0], experts[:top_k], probabilities.tolist())


class LoopStatistics:
    """Keeps every token, and computes when asked; `top_k`, `normalise` and `scale` are the model's."""

    def __init__(self, top_k: int, *, normalise: bool = False, scale: float = 1.0) -> None:
        self.top_k, self.normalise, self.scale = top_k, normalise, scale
        self.seen: dict[tuple[int, int], list[Routed]] = defaultdict(list)
        self.uses: Counter[tuple[int, int, int, int]] = Counter()  # (layer, domain, key, expert)
        self.tops: Counter[tuple[int, int, int, int]] = Counter()

    def add(self, layer: int, key: int, token: Routed, domain: int = 0) -> None:
        """Take note of one token."""
        self.seen[layer, key].append(token)
        self.tops[layer, domain, key, token.top] += 1
        for expert in token.used:
            self.uses[layer, domain, key, expert] += 1

    def update(
        self, layer: int, keys: Iterable[int], logits: Tensor, domains: Sequence[int], top_k: int
    ) -> None:
        """Take note of a batch, token by token."""
        for key, row, domain in zip(keys, logits, domains, strict=True):
            self.add(layer, int(key), routed(row, top_k), int(domain))

    def rows(self) -> list[dict[str, Any]]:
        """One row per (layer, key), in order."""
        return [self._row(layer, key, self.seen[layer, key]) for layer, key in sorted(self.seen)]

    def _row(self, layer: int, key: int, tokens: list[Routed]) -> dict[str, Any]:
        entropies, confidences = ([getattr(t, name) for t in tokens] for name in ("entropy", "confidence"))
        tops = Counter(token.top for token in tokens)
        top = min(tops, key=lambda expert: (-tops[expert], expert))
        uses = Counter(expert for token in tokens for expert in token.used)
        numbers = range(len(tokens[0].probabilities))
        experts = sorted(numbers, key=lambda expert: (-uses[expert], expert))[: self.top_k]
        weights = [mean([token.probabilities[expert] for token in tokens]) for expert in experts]
        if self.normalise:
            weights = [weight / sum(weights) for weight in weights]
        return {
            "layer": layer,
            "token_id": key,
            "token_str": f"<{key}>",
            "frequency": len(tokens),
            "mean_entropy": mean(entropies),
            "std_entropy": deviation(entropies),
            "mean_confidence": mean(confidences),
            "std_confidence": deviation(confidences),
            "routing_consistency": tops[top] / len(tokens),
            "top_expert": top,
            "min_entropy": min(entropies),
            "max_entropy": max(entropies),
            "experts": experts,
            "weights": [weight * self.scale for weight in weights],
        }

    def counts(self, domains: Sequence[str]) -> list[dict[str, Any]]:
        """One row per (layer, domain, key, expert), in order."""
        return [
            {
                "layer": layer,
                "domain": domains[domain],
                "token_id": key,
                "expert": expert,
                "count": self.uses[layer, domain, key, expert],
                "top_count": self.tops[layer, domain, key, expert],
            }
            for layer, domain, key, expert in sorted(self.uses | self.tops)
        ]


def mean(values: list[float]) -> float:
    """The mean."""
    return math.fsum(values) / len(values)


def deviation(values: list[float]) -> float:
    """The standard deviation of the population."""
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / len(values))


def ngram_counts(
    windows: Iterable[tuple[Sequence[int], int, Sequence[Sequence[Sequence[int]]], Sequence[bool]]],
    context_window: int,
) -> Counter[tuple[int, int, int, tuple[int, ...], int]]:
    """Uses by (layer, domain, context, n-gram, expert).

    Each window is (token ids, domain, experts by layer and token, which tokens count); an n-gram is the n previous
    tokens and the token itself.
    """
    found: Counter[tuple[int, int, int, tuple[int, ...], int]] = Counter()
    for ids, domain, experts, counted in windows:
        for context in range(1, context_window + 1):
            for place in range(context, len(ids)):
                if counted[place]:
                    ngram = tuple(ids[place - context : place + 1])
                    for layer, of_layer in enumerate(experts):
                        found.update((layer, domain, context, ngram, expert) for expert in of_layer[place])
    return found
