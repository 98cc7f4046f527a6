"""What a sweep of VAR's thresholds tries, known before any model is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from switchyard.var.config import ROUTE_WEIGHTS


@dataclass(frozen=True)
class Grid:
    """What is swept; see `var.sweep` in config.schema.yaml."""

    quantiles: Sequence[float]
    frequency_thresholds: Sequence[int]
    fast_path_shares: Sequence[float]
    confidence_quantiles: Sequence[float]
    context_windows: Sequence[int]

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """The grid of a study's `var.sweep`, whose other settings say what it is run on."""
        return cls(**{one.name: settings[one.name] for one in fields(cls)})

    def experts(self, top_k: int) -> list[int]:
        """Experts on the fast path: the shares of the trained top-k, rounded, at least 1; each number once."""
        return list(dict.fromkeys(max(1, math.floor(one * top_k + 0.5)) for one in self.fast_path_shares))

    def count(self, top_k: int) -> int:
        """How many points there are beside the untouched model."""
        experts = len(self.experts(top_k))
        thresholds = len(self.quantiles) + len(self.frequency_thresholds) - 1
        caches = len(self.confidence_quantiles) * len(self.context_windows)
        return len(ROUTE_WEIGHTS) * (thresholds * experts + caches) + top_k + experts
