"""Adaptive routing by the Benjamini-Hochberg procedure on the router logits (Benjamini and Hochberg, 1995)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from switchyard.routing.adaptive import LevelRule, NullRule

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class BenjaminiHochberg(NullRule, LevelRule):
    """As many experts as BH rejects at level `alpha`, at least `min_k` and at most `max_k`.

    An expert's p-value is 1 - F(logit) under the layer's null F (`null[layer]`). Because F is monotone, rejecting
    is a comparison of the sorted logits with critical logits that are found once per layer and kept.
    """

    name: ClassVar[str] = "bh"

    def level(self, num_experts: int) -> float:
        """The level of the step-up, 0..1: `alpha` itself."""
        return self.alpha

    def num_experts(self, logits: Tensor, ranked: Tensor, order: Tensor, layer: int) -> Tensor:
        """Rejections, int64 [tokens]: the largest rank whose logit reaches the critical one, 0 where none does."""
        null, num_experts = self.of_layer("null", layer), logits.shape[-1]
        holds_all_logits = np.float64 if logits.dtype == torch.float64 else np.float32
        critical = self.keep(
            layer,
            logits,
            lambda: null.critical_logits(self.level(num_experts), num_experts, dtype=holds_all_logits),
        )
        ranks = torch.arange(1, num_experts + 1, dtype=torch.int16, device=logits.device)
        return ((ranked >= critical) * ranks).amax(dim=-1).long()
