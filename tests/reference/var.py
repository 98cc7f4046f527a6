"""VAR's three paths token by token, with dicts and loops: what the vectorised router must decide."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from switchyard.var.config import VARConfig

LEARNED, FAST, CACHED = 0, 1, 2


class Token(NamedTuple):
    """One row of a forward."""

    token_id: int
    previous: tuple[int, ...]
    real: bool


class Route(NamedTuple):
    """A row of a selection without its unused slots."""

    experts: list[int]
    weights: list[float]


class Known(NamedTuple):
    """A row of the routing table."""

    frequency: int
    mean_entropy: float
    route: Route


class Decision(NamedTuple):
    path: int
    route: Route


@dataclass
class Entry:
    route: Route
    written: float
    recency: int


@dataclass
class NaiveVAR:
    """`table` by (layer, token id); all layers are patched unless `patch_layers` says which."""

    config: VARConfig
    table: dict[tuple[int, int], Known]
    normalise: bool
    tokens_per_second: float
    patch_layers: set[int] | None = None
    caches: dict[int, dict[tuple[int, ...], Entry]] = field(default_factory=dict)
    paths: dict[int, list[int]] = field(default_factory=dict)
    lookups: dict[int, int] = field(default_factory=dict)
    tokens: int = 0
    rows: int = 0

    def forward(
        self, tokens: list[Token], probabilities: list[list[list[float]]], learned: list[list[Route]]
    ) -> list[list[Decision]]:
        """Decisions [layer][token] from the router's probabilities [layer][token][expert] and its own routes."""
        decisions = []
        for layer in range(len(learned)):
            if self.patch_layers is not None and layer not in self.patch_layers:
                decisions.append([Decision(LEARNED, route) for route in learned[layer]])
            else:
                decisions.append(self._layer(layer, tokens, probabilities[layer], learned[layer]))
        self.rows += len(tokens)
        self.tokens += sum(token.real for token in tokens)
        for cache in self.caches.values():
            for entry in cache.values():
                if entry.written is None:
                    entry.written = self.tokens / self.tokens_per_second
        return decisions

    def _layer(
        self, layer: int, tokens: list[Token], probabilities: list[list[float]], learned: list[Route]
    ) -> list[Decision]:
        cache = self.caches.setdefault(layer, {})
        self._drop(cache)
        before = dict(cache)
        paths = self.paths.setdefault(layer, [0, 0, 0])
        self.lookups.setdefault(layer, 0)
        decisions = []
        for number, token in enumerate(tokens):
            decision = self._decide(layer, token, before, probabilities[number], learned[number])
            decisions.append(decision)
            if not token.real:
                continue
            paths[decision.path] += 1
            self.lookups[layer] += decision.path != FAST and self.config.cache_size > 0
            if decision.path == CACHED:
                before[key_of(token)].recency = self.rows + number
            confident = max(probabilities[number]) >= np.float32(self.config.confidence_threshold)
            is_known = token.token_id >= 0
            if decision.path == LEARNED and is_known and confident and self.config.cache_size > 0:
                cache[key_of(token)] = Entry(learned[number], None, self.rows + number)
        self._evict(cache)
        return decisions

    def _decide(
        self, layer: int, token: Token, cache: dict, probabilities: list[float], learned: Route
    ) -> Decision:
        if not token.real:
            return Decision(LEARNED, learned)
        known = self.table.get((layer, token.token_id))
        if (
            known is not None
            and known.frequency >= self.config.frequency_threshold
            and np.float32(known.mean_entropy) < np.float32(self.config.entropy_threshold)
        ):
            return Decision(FAST, self._fast_route(known.route, probabilities))
        if self.config.cache_size > 0 and token.token_id >= 0 and key_of(token) in cache:
            return Decision(CACHED, self._weighted(cache[key_of(token)].route, probabilities))
        return Decision(LEARNED, learned)

    def _fast_route(self, route: Route, probabilities: list[float]) -> Route:
        used = self.config.fast_path_experts or len(route.experts)
        weights = route.weights[:used]
        if self.normalise:
            weights = [weight / sum(weights) for weight in weights]
        return self._weighted(Route(route.experts[:used], weights), probabilities)

    def _weighted(self, route: Route, probabilities: list[float]) -> Route:
        if self.config.route_weights == "table":
            return route
        weights = [probabilities[expert] for expert in route.experts]
        if self.normalise:
            weights = [weight / sum(weights) for weight in weights]
        return Route(route.experts, weights)

    def _drop(self, cache: dict) -> None:
        now = self.tokens / self.tokens_per_second
        for key in [
            key for key, entry in cache.items() if now - entry.written > self.config.cache_ttl_seconds
        ]:
            del cache[key]
        self._evict(cache)

    def _evict(self, cache: dict) -> None:
        if self.config.cache_size == 0:
            return
        while len(cache) > self.config.cache_size:
            del cache[min(cache, key=lambda key: cache[key].recency)]


def key_of(token: Token) -> tuple[int, ...]:
    return (*token.previous, token.token_id)


def previous_ids(history: list[int], window: int) -> tuple[int, ...]:
    """The last `window` ids of `history`, -1 where there are fewer."""
    filled = [-1] * window + history
    return tuple(filled[len(filled) - window :])
