"""Adaptive routing by Higher Criticism (Donoho and Jin, 2004) at its threshold (Donoho and Jin, 2008)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from switchyard.errors import InputError
from switchyard.routing.adaptive import NullRule

if TYPE_CHECKING:
    from torch import Tensor

    from switchyard.routing.nulls import NullDistribution


@dataclass(frozen=True)
class HigherCriticism(NullRule):
    """As many experts as lie before the rank at which p-values are most surprisingly small.

    HC(k) = sqrt(E) (k/E - p_(k)) / sqrt(k/E (1 - k/E)) for the ascending p-values of E experts and the ranks k from 1
    to max(1, floor(gamma E)), but E itself, where the denominator is 0, is never searched. The number is the k of the
    largest HC, the smallest such k, and 0 where that HC is not above 0. There is no level.

    Raises:
        InputError: `gamma` is not above 0 and at most 1, or what `NullRule` refuses.
    """

    name: ClassVar[str] = "higher_criticism"

    gamma: float = field(kw_only=True)
    """Share of the ranks that is searched, above 0 and at most 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.gamma <= 1.0:
            raise InputError(
                f"higher_criticism: gamma is {self.gamma}, it must lie above 0 and at most at 1 (0.10, not 10)"
            )

    def num_experts(self, logits: Tensor, ranked: Tensor, order: Tensor, layer: int) -> Tensor:
        """The rank of the largest HC, int64 [tokens]; 0 where none is above 0."""
        num_experts = logits.shape[-1]
        null = self.of_layer("null", layer)
        searched = ranks_searched(self.gamma, num_experts)
        if searched == 0:
            return torch.zeros_like(order[:, 0])
        p = 1.0 - cdf_at(ranked[:, :searched], self.keep(layer, logits, lambda: segments(null)))
        share = torch.arange(1, searched + 1, device=logits.device, dtype=torch.float64) / num_experts
        criticism = math.sqrt(num_experts) * (share - p) / torch.sqrt(share * (1.0 - share))
        highest = criticism.argmax(dim=-1, keepdim=True)
        return torch.where(criticism.gather(-1, highest) > 0.0, highest + 1, 0).squeeze(-1)


def ranks_searched(gamma: float, num_experts: int) -> int:
    """max(1, floor(gamma E)), at most E - 1; gamma as written, so that 0.29 of 100 experts is 29."""
    return min(max(1, math.floor(gamma * num_experts + 1e-9)), num_experts - 1)


def segments(null: NullDistribution) -> np.ndarray:
    """The linear pieces of F, float64 [4, points]: where each starts, F there, its slope, F where it ends."""
    slope = np.append(np.diff(null.cdf) / np.diff(null.logit), 0.0)
    return np.stack([null.logit, null.cdf, slope, np.append(null.cdf[1:], 1.0)])


def cdf_at(x: Tensor, pieces: Tensor) -> Tensor:
    """F(x) as `NullDistribution.cdf_at` has it, float64 in the shape [...] of `x`.

    `pieces` [4, points] are those of `segments`; the result is on their device.
    """
    start, left, slope, right = pieces
    x = x.to(torch.float64).contiguous()
    piece = (torch.searchsorted(start, x, right=True) - 1).clamp(min=0)
    inside = torch.minimum(left[piece] + slope[piece] * (x - start[piece]), right[piece])
    return inside.masked_fill(x < start[0], 0.0).masked_fill(x > start[-1], 1.0)
