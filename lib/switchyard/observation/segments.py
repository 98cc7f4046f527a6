"""Local routing consistency: segments of neighbouring tokens that share their experts (SRP)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
from scipy import stats

from switchyard.errors import InputError
from switchyard.observation.counters import RoutingCounter, result_table, share
from switchyard.observation.routed_tokens import RoutedTokens, tallied


@dataclass(kw_only=True)
class SegmentUses(RoutingCounter):
    """How many tokens of a segment use an expert (Liang et al., arXiv:2505.16056, section 2.2).

    A segment is m neighbouring tokens of one stretch. Every start that leaves a full segment counts, so that segments
    overlap; a stretch shorter than m has none. `empty` takes `segment_lengths`, the m.

    Attributes:
        segment_lengths: [lengths], in tokens, ascending.
        histogram: [lengths, layers, longest m + 1], (segment, expert) pairs in which 0, 1, ... m tokens use the expert.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = (*RoutingCounter.SETTINGS, "segment_lengths")

    segment_lengths: np.ndarray
    histogram: np.ndarray

    @classmethod
    def _blank(
        cls, shape: tuple[int, int], top_k: int, *, segment_lengths: Sequence[int] = (16,)
    ) -> dict[str, np.ndarray]:
        lengths = np.unique(np.asarray(segment_lengths, np.int64))
        if not lengths.size or lengths[0] < 1:
            raise InputError(f"segment lengths: {list(segment_lengths)}, give one or more of at least 1")
        return {
            "segment_lengths": lengths,
            "histogram": np.zeros((len(lengths), shape[0], lengths[-1] + 1)),
        }

    def _count(self, routed: RoutedTokens) -> None:
        before = routed.uses_before
        for place, length in enumerate(self.segment_lengths):
            starts = np.flatnonzero(routed.remaining >= length)
            for layer, uses in enumerate(before):
                counts = (uses[starts + length] - uses[starts]).reshape(1, -1)
                self.histogram[place, layer] += tallied(counts, self.histogram.shape[2])[0]

    def check(self) -> None:
        """Raise InputError for counts that no routing can have."""
        super().check()
        shape = (len(self.segment_lengths), len(self.layers), self.segment_lengths.max() + 1)
        self._refuse_unless("segments are of every length and layer", self.histogram.shape == shape)
        numbers = np.arange(shape[2])
        beyond = numbers > self.segment_lengths[:, None, None]
        self._refuse_unless("an expert is used once a token", (self.histogram * beyond == 0).all())
        pairs = self.histogram.sum(axis=2)
        uses_per_pair = (self.segment_lengths * self.top_k)[:, None]
        self._refuse_unless("segments are the same in every layer", (pairs == pairs[:, :1]).all())
        self._refuse_unless(
            "a segment has m x k uses",
            ((self.histogram * numbers).sum(axis=2) * self.num_experts == pairs * uses_per_pair).all(),
        )

    def table(self) -> pa.Table:
        """One row per layer and segment length.

        Returns:
            layer, segment_length, segments; `segment_routing_best_performance`, see `segment_router`;
            `expected_segment_routing_best_performance`, what it would be for tokens drawn independently from the
            layer's tokens, where the tokens of a segment that use an expert are binomial with the expert's share of
            the tokens; `uses_to_activate` and `size_ratio` of the best segment router. Null without a segment, what
            is expected without a token.
        """
        self.check()
        rows = []
        for length, histograms in zip(self.segment_lengths.tolist(), self.histogram):
            for layer, uses, histogram in zip(self.layers.tolist(), self.uses, histograms):
                best = segment_router(histogram[: length + 1])
                expected = segment_router(_independent(uses, length, int(self.tokens)))
                segments = histogram.sum() // self.num_experts
                rows.append((layer, length, segments, best.f1, expected.f1, best.uses, best.size_ratio))
        names = (
            *("layer", "segment_length", "segments", "segment_routing_best_performance"),
            *("expected_segment_routing_best_performance", "uses_to_activate", "size_ratio"),
        )
        columns = dict(zip(names, zip(*sorted(rows, key=lambda row: row[:2]))))
        return result_table(columns, shares=names[3:5])


class SegmentRouter(NamedTuple):
    """A router that activates experts for a whole segment, as good as can be; NaN without a segment."""

    f1: float
    """Its F1 against what the tokens use, 0..1."""
    uses: int | None
    """It activates an expert used by at least so many of a segment's tokens; the fewest among equally good ones."""
    size_ratio: float
    """Experts it activates over k: in a mean segment, over the experts that a token uses."""


def segment_router(histogram: np.ndarray) -> SegmentRouter:
    """The best router for segments of m tokens that knows how many tokens f of the segment use each expert.

    It activates the experts with f >= a for all tokens of the segment. Over all (segment, expert) pairs, a hit is a
    token that uses an activated expert (TP), waste one that does not (FP), a miss one that uses another (FN): TP is
    the sum of f and FP that of m - f over f >= a, FN the sum of f below. Best is the a in 1..m with the largest
    F1 = 2 TP / (2 TP + FP + FN): the segment routing best performance of Liang et al.

    Args:
        histogram: [m + 1], number of pairs with f = 0, 1, ... m.
    """
    numbers = np.arange(len(histogram))
    uses = (histogram * numbers).sum()
    if uses == 0:
        return SegmentRouter(float("nan"), None, float("nan"))
    hits = np.cumsum((histogram * numbers)[::-1])[::-1][1:]
    fed = numbers[-1] * np.cumsum(histogram[::-1])[::-1][1:]  # TP + FP: all tokens of segments with f >= a
    f1 = 2.0 * hits / (fed + uses)
    best = int(f1.argmax())
    return SegmentRouter(float(f1[best]), best + 1, float(fed[best] / uses))


def _independent(uses: np.ndarray, length: int, tokens: int) -> np.ndarray:
    """The histogram of one segment expected of independent tokens, float64 [length + 1]."""
    shares = np.nan_to_num(share(uses, tokens))
    return stats.binom.pmf(np.arange(length + 1)[:, None], length, shares).sum(axis=1)
