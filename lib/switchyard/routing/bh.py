"""Adaptive routing by the Benjamini-Hochberg procedure on the router logits (Benjamini and Hochberg, 1995)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from switchyard.errors import InputError
from switchyard.routing.selection import Selection
from switchyard.routing.weighting import check_weighting, chosen_probabilities, weigh

if TYPE_CHECKING:
    from torch import Tensor

    from switchyard.routing.nulls import NullDistribution
    from switchyard.routing.selection import TokenContext


@dataclass(frozen=True)
class BenjaminiHochberg:
    """As many experts as BH rejects at level `alpha`, at least `min_k` and at most `max_k`.

    An expert's p-value is 1 - F(logit) under the layer's null F (`null[layer]`). Because F is monotone, rejecting
    is a comparison of the sorted logits with critical logits that are found once per layer and kept.
    `weighting`, `trained_top_k`, `normalise`: see `switchyard.routing.weighting.weigh`.
    """

    needs_context: ClassVar[bool] = False

    alpha: float
    max_k: int
    min_k: int = 1
    null: Sequence[NullDistribution] | None = field(default=None, repr=False)
    weighting: str = "model"
    trained_top_k: int | None = None
    normalise: bool | None = None
    _critical: dict[tuple, Tensor] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        check_weighting(self.weighting)
        if not 0.0 < self.alpha < 1.0:
            raise InputError(f"bh: alpha is {self.alpha}, it must lie between 0 and 1 (0.30, not 30)")
        if not 0 <= self.min_k <= self.max_k or self.max_k < 1:
            raise InputError(
                f"bh: min_k {self.min_k} and max_k {self.max_k} must satisfy 0 <= min_k <= max_k, 1 <= max_k"
            )
        if self.null is None:
            raise InputError("bh: null is missing; give one NullDistribution per layer (read_nulls)")
        if not all(hasattr(null, "critical_logits") for null in self.null):
            raise InputError("bh: null must be a sequence of NullDistribution, one per layer")
        object.__setattr__(self, "null", tuple(self.null))

    def select(self, logits: Tensor, layer: int, context: TokenContext | None = None) -> Selection:
        """Choose the clamp(n, min_k, max_k) largest logits, n being the rejections; ties go to the lower index."""
        num_experts = logits.shape[-1]
        self._check(layer, num_experts)
        ranked, order = torch.sort(logits, dim=-1, descending=True, stable=True)
        ranks = torch.arange(1, num_experts + 1, device=logits.device)
        rejected = ranked >= self._critical_logits(layer, logits)
        rejections = (rejected * ranks).amax(dim=-1)
        count = rejections.clamp(self.min_k, self.max_k)
        unused = ranks[: self.max_k] > count.unsqueeze(-1)
        experts = order[:, : self.max_k].masked_fill(unused, num_experts)
        weights = weigh(
            chosen_probabilities(logits, experts),
            logits,
            weighting=self.weighting,
            trained_top_k=self.trained_top_k,
            normalise=self.normalise,
        )
        return Selection(experts, weights, count, rejections)

    def _check(self, layer: int, num_experts: int) -> None:
        if self.max_k > num_experts:
            raise InputError(
                f"bh: max_k is {self.max_k} but layer {layer} has {num_experts} experts, lower max_k"
            )
        if layer >= len(self.null):
            raise InputError(
                f"bh: no null for layer {layer}, `null` has {len(self.null)}: calibrate on this model"
            )

    def _critical_logits(self, layer: int, logits: Tensor) -> Tensor:
        """Critical logits [num_experts], on the device, in a dtype that holds every value of the logits' exactly."""
        key = (layer, logits.shape[-1], logits.dtype, logits.device)
        if key not in self._critical:
            exact = np.float64 if logits.dtype == torch.float64 else np.float32
            values = self.null[layer].critical_logits(self.alpha, logits.shape[-1], dtype=exact)
            self._critical[key] = torch.from_numpy(values).to(logits.device)
        return self._critical[key]
