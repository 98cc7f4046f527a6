"""Points that are known to decide alike before any is run, so that they are computed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import orjson

NEVER = "never acts"
"""The decisions of a point under which every token is routed as by the untouched model."""


@dataclass(frozen=True)
class VARDecisions:
    """What VAR's thresholds decide on one text with one table. R rows of the table whose token ids the text holds.

    Two points with the same `of` decide alike; two with different ones may. The rules are exact:

    - thresholds of frequency and entropy matter by the rows that they let through, compared in float32;
    - a cache that nothing can be written to has no settings: one of size 0, one whose threshold is above 1, and without
      rows one whose threshold is above the text's largest confidence (a looked-up route changes those of later layers);
    - a cache with room for all tokens never evicts, one that outlives the text never expires;
    - with neither rows nor a cache, VAR never acts.
    """

    frequency: np.ndarray  # int64 [R]
    mean_entropy: np.ndarray  # float [R]
    highest_confidence: float
    """Largest router probability of any token of the text in any layer of the untouched model."""
    tokens: int
    """Of the text."""
    tokens_per_second: float
    """Of VAR's clock."""
    top_k: int
    """What the model was trained with."""

    def of(self, settings: Mapping[str, Any]) -> str:
        """A digest of what a VARConfig with these fields decides; NEVER where it never acts."""
        rows = self._rows(settings)
        cache = self._cache(settings, self.highest_confidence if rows is None else 1.0)
        if rows is None and cache is None:
            return NEVER
        fast = None if rows is None else [rows, settings.get("fast_path_experts") or self.top_k]
        decided = [fast, cache, settings.get("route_weights", "table")]
        return sha256(orjson.dumps(decided, option=orjson.OPT_SERIALIZE_NUMPY)).hexdigest()

    def _rows(self, settings: Mapping[str, Any]) -> str | None:
        entropy = self.mean_entropy.astype(np.float32) < np.float32(settings["entropy_threshold"])
        let_through = entropy & (self.frequency >= settings["frequency_threshold"])
        return sha256(np.packbits(let_through).tobytes()).hexdigest() if let_through.any() else None

    def _cache(self, settings: Mapping[str, Any], highest: float) -> list[float | None] | None:
        confidence = np.float32(settings["confidence_threshold"])
        if not settings["cache_size"] or confidence > np.float32(highest):
            return None
        size, ttl = settings["cache_size"], settings["cache_ttl_seconds"]
        return [
            float(confidence),
            size if size < self.tokens else None,
            float(ttl) if ttl < self.tokens / self.tokens_per_second else None,
            settings["context_window_size"],
        ]
