"""A point of measurement: how many tokens a forward works on, and after how many."""

from __future__ import annotations

from dataclasses import dataclass

PREFILL, DECODE = "prefill", "decode"
PHASES = (PREFILL, DECODE)


@dataclass(frozen=True)
class Point:
    """A forward of `batch` sequences of `length` new tokens each, after `cache_length` tokens that are cached."""

    phase: str
    batch: int
    length: int
    cache_length: int = 0

    @property
    def tokens(self) -> int:
        """New tokens of all sequences."""
        return self.batch * self.length

    @property
    def keys(self) -> int:
        """Pairs of a query and a key in one head of one layer, the masked ones included."""
        return self.tokens * (self.cache_length + self.length)

    @property
    def head_rows(self) -> int:
        """Rows that the head is asked for: the last one of each sequence."""
        return self.batch


def prefill(batch: int, length: int) -> Point:
    """A forward over whole sequences without a cache."""
    return Point(PREFILL, batch, length)


def decode(batch: int, cache_length: int) -> Point:
    """A forward of one token for each sequence."""
    return Point(DECODE, batch, 1, cache_length)
