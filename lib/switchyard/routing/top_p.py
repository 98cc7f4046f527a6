"""Post-hoc top-p routing: experts until their probabilities add up to p (Huang et al., 2024)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch

from switchyard.errors import InputError
from switchyard.routing.adaptive import AdaptiveRule
from switchyard.routing.weighting import router_probabilities

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TopP(AdaptiveRule):
    """The fewest most probable experts whose router probabilities sum to at least `p`.

    Probabilities are the model's own, a softmax in float32; their sums are float64. Post-hoc: the models that Huang
    et al. route so are trained so, these are not.

    Raises:
        InputError: `p` is not above 0 and at most 1, or what `AdaptiveRule` refuses.
    """

    name: ClassVar[str] = "top_p"
    tests: ClassVar[bool] = False
    needs_logits: ClassVar[bool] = True
    """Refused by `attach` where what a rule sees are no logits of a softmax over all experts."""

    p: float = field(kw_only=True)
    """Above 0 and at most 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.p <= 1.0:
            raise InputError(f"top_p: p is {self.p}, it must lie above 0 and at most at 1 (0.30, not 30)")

    def num_experts(self, logits: Tensor, ranked: Tensor, order: Tensor, layer: int) -> Tensor:
        """One more than the experts whose probabilities still sum to less than `p`, at most all, int64 [tokens]."""
        probabilities = router_probabilities(logits).gather(-1, order)
        sums = probabilities[:, :-1].cumsum(dim=-1, dtype=torch.float64)
        return 1 + (sums < self.p).sum(dim=-1)
