"""Static routing: the k most probable experts, as the models themselves choose them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from switchyard.errors import InputError
from switchyard.routing.selection import Selection
from switchyard.routing.weighting import check_weighting, router_probabilities, weigh

if TYPE_CHECKING:
    from torch import Tensor

    from switchyard.routing.selection import TokenContext


@dataclass(frozen=True)
class TopK:
    """Always `k` experts, by the model's own call, so that the trained k is the untouched model bit for bit.

    `weighting`, `trained_top_k`, `normalise`: see `switchyard.routing.weighting.weigh`.

    Raises:
        InputError: `k` is below 1, or `weighting` is unknown.
    """

    needs_context: ClassVar[bool] = False

    k: int
    weighting: str = "model"
    trained_top_k: int | None = None
    normalise: bool | None = None

    def __post_init__(self) -> None:
        check_weighting(self.weighting)
        if self.k < 1:
            raise InputError(f"topk: k is {self.k}, it must be at least 1")

    @property
    def limits(self) -> tuple[int, int]:
        """Fewest and most experts of a token: `k` and `k`."""
        return self.k, self.k

    def select(self, logits: Tensor, layer: int, context: TokenContext | None = None) -> Selection:
        """Choose the `k` most probable experts; ties fall as `torch.topk` lets them. See `RoutingRule.select`.

        Raises:
            InputError: `k` is larger than the layer's number of experts.
        """
        tokens, num_experts = logits.shape
        if self.k > num_experts:
            raise InputError(f"topk: k is {self.k} but layer {layer} has {num_experts} experts, lower k")
        chosen, experts = torch.topk(router_probabilities(logits), self.k, dim=-1)
        weights = weigh(
            chosen,
            logits,
            weighting=self.weighting,
            trained_top_k=self.trained_top_k,
            normalise=self.normalise,
        )
        return Selection(experts, weights, torch.full((tokens,), self.k, device=logits.device))
