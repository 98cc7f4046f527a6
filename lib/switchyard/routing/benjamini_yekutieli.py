"""Adaptive routing by the Benjamini-Yekutieli procedure on the router logits (Benjamini and Yekutieli, 2001)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from switchyard.routing.bh import BenjaminiHochberg


@dataclass(frozen=True)
class BenjaminiYekutieli(BenjaminiHochberg):
    """BH at the level alpha / (1 + 1/2 + ... + 1/E) for E experts.

    It bounds the false discovery rate whatever the dependence between a token's p-values, provided that each is valid.
    """

    name: ClassVar[str] = "by"

    def level(self, num_experts: int) -> float:
        """`alpha` divided by the harmonic number of the experts."""
        return self.alpha / math.fsum(1.0 / rank for rank in range(1, num_experts + 1))
