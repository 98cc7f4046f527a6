"""What an observation counts beside the routing statistics: sequences and pairs, which no table of token ids holds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from switchyard.observation.caching import CacheHits
from switchyard.observation.coactivation import Coactivation
from switchyard.observation.repetition import Repetition
from switchyard.observation.segments import SegmentUses
from switchyard.observation.shards import MakeCounter


def counters(segments: Sequence[int]) -> dict[str, MakeCounter]:
    """By the name of its table; `segments` are the lengths in tokens that segments and caches look at."""
    lengths = {"segment_lengths": tuple(segments)}
    return {
        "coactivation": Coactivation.empty,
        "repetition": Repetition.empty,
        "segments": partial(SegmentUses.empty, **lengths),
        "caches": partial(CacheHits.empty, **lengths),
    }
