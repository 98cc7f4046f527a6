"""Segment cache hit rate (SCH): how often a cache of experts that sees a little ahead holds what a token uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from switchyard.errors import InputError
from switchyard.observation.counters import RoutingCounter, result_table, share
from switchyard.observation.routed_tokens import RoutedTokens

_IN_USE = np.iinfo(np.int32).max
"""Worth of an expert that the token at hand uses: above that of any other."""


@dataclass(kw_only=True)
class CacheHits(RoutingCounter):
    """Hits of expert caches of limited size (Liang et al., arXiv:2505.16056, section 2.3).

    A cache of c experts per layer is empty where a stretch begins. At each token the used experts that are cached are
    hits. The others are loaded, and as many cached experts that the token does not use are evicted as needed: first
    those that the fewest of the next m tokens of the stretch use, among equals the highest index.

    `empty` takes `segment_lengths`, the m, and `cache_ratios`, the sizes as multiples of k, at least 1; c is the
    nearest whole number (halves up), E at most. There is a cache for every combination.

    Attributes:
        segment_lengths: [caches], m of each cache, in tokens.
        cache_sizes: [caches], c of each cache, in experts.
        hits: [caches, layers].
    """

    SETTINGS: ClassVar[tuple[str, ...]] = (*RoutingCounter.SETTINGS, "segment_lengths", "cache_sizes")

    segment_lengths: np.ndarray
    cache_sizes: np.ndarray
    hits: np.ndarray

    @classmethod
    def _blank(
        cls,
        shape: tuple[int, int],
        top_k: int,
        *,
        segment_lengths: Sequence[int] = (16,),
        cache_ratios: Sequence[float] = (1.0, 1.5, 2.0, 3.0),
    ) -> dict[str, np.ndarray]:
        if not segment_lengths or min(segment_lengths) < 1:
            raise InputError(f"segment lengths: {list(segment_lengths)}, give one or more of at least 1")
        if not cache_ratios or min(cache_ratios) < 1:
            raise InputError(
                f"cache ratios: {list(cache_ratios)}, give one or more of at least 1: a cache holds the experts in use"
            )
        sizes = {min(shape[1], int(ratio * top_k + 0.5)) for ratio in cache_ratios}
        caches = [(length, size) for length in sorted(set(segment_lengths)) for size in sorted(sizes)]
        lengths, sizes_of = np.array(caches).T
        return {
            "segment_lengths": lengths,
            "cache_sizes": sizes_of,
            "hits": np.zeros((len(caches), shape[0])),
        }

    def _count(self, routed: RoutedTokens) -> None:
        for length in np.unique(self.segment_lengths):
            places = np.flatnonzero(self.segment_lengths == length)
            self.hits[places] += cache_hits(routed, int(length), self.cache_sizes[places])

    def check(self) -> None:
        """Raise InputError for counts that no routing can have."""
        super().check()
        shape = (len(self.cache_sizes), len(self.layers))
        self._refuse_unless("hits are of every cache and layer", self.hits.shape == shape)
        fits = (self.top_k <= self.cache_sizes) & (self.cache_sizes <= self.num_experts)
        self._refuse_unless("a cache holds k to E experts", fits.all())
        self._refuse_unless("hits are uses", (self.hits <= self.tokens * self.top_k).all())

    def table(self) -> pa.Table:
        """One row per layer and cache.

        Returns:
            layer, segment_length (the tokens that the cache sees ahead), cache_size in experts, cache_ratio =
            cache_size / k, hits, uses; `segment_cache_hit_rate` = hits / uses; `fixed_hit_rate`, that of a cache which
            holds the layer's most used experts all along, without any loading. Null without a token.
        """
        self.check()
        caches, layers = self.hits.shape
        layer, cache = (at.ravel() for at in np.meshgrid(np.arange(layers), np.arange(caches), indexing="ij"))
        most_used = np.cumsum(-np.sort(-self.uses, axis=1), axis=1)
        sizes, uses = self.cache_sizes[cache], self.uses.sum(axis=1)[layer]
        columns = {
            "layer": self.layers[layer],
            "segment_length": self.segment_lengths[cache],
            "cache_size": sizes,
            "cache_ratio": sizes / self.top_k,
            "hits": self.hits[cache, layer],
            "uses": uses,
            "segment_cache_hit_rate": share(self.hits[cache, layer], uses),
            "fixed_hit_rate": share(most_used[layer, sizes - 1], uses),
        }
        return result_table(columns, shares=["segment_cache_hit_rate", "fixed_hit_rate"])


def cache_hits(routed: RoutedTokens, length: int, sizes: np.ndarray) -> np.ndarray:
    """Hits of caches of each size that see `length` tokens ahead, int64 [sizes, layers].

    Tokens of a stretch follow each other; sizes, layers, stretches and experts go in parallel, the longest stretches
    first, so that those still running stand in front.
    """
    order = np.argsort(-routed.lengths, kind="stable")
    lengths, ends = routed.lengths[order], np.cumsum(routed.lengths)[order]
    num_experts = routed.num_experts
    cached = np.zeros((len(sizes), len(routed.experts), len(lengths), num_experts), bool)
    hits = np.zeros(cached.shape[:2], np.int64)
    preference = np.arange(num_experts, 0, -1, dtype=np.int32)  # among equals the lowest index is worth most
    for place in range(lengths.max(initial=0)):
        running = np.count_nonzero(lengths > place)
        at = (ends - lengths)[:running] + place
        seen = np.minimum(at + 1 + length, ends[:running])
        ahead = routed.uses_before[:, seen] - routed.uses_before[:, at + 1]
        now, held = routed.used[:, at], cached[:, :, :running]
        hits += np.count_nonzero(now & held, axis=(2, 3))
        worth = np.where(now, _IN_USE, ahead * num_experts + preference) * (now | held)
        least = np.sort(worth)[np.arange(len(sizes)), :, :, num_experts - sizes]
        cached[:, :, :running] = worth >= np.maximum(least, 1)[..., None]  # what is worth 0 is not there
    return hits
