"""Router families: how a model's own router turns logits into chosen experts and their weights.

transformers 5 gives all routers one shape: they answer (logits, weights, indices). What they compute differs, and
stands here as a small description per model type. A type that is not listed is taken for softmax over all experts,
then the k most probable ones: OLMoE, FlexOlmo, Mixtral, MiniMax, Qwen2-MoE, Qwen3-MoE, Qwen3-Next, Jamba, and gpt-oss
and GraniteMoE, whose softmax over the chosen logits gives the same weights. `switchyard.models.routers` compares the
answer of every router with its description.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from switchyard.models.scores import Scores

if TYPE_CHECKING:
    from torch import Tensor

    from switchyard.models.blocks import MoEBlock


@dataclass(frozen=True)
class Family:
    """What the routers of a model type compute."""

    score: str = "softmax"
    """`softmax` or `sigmoid`: the router's probability of each expert, from its logit."""
    in_float32: bool = False
    """Whether the sigmoid is taken in float32 and not in the dtype of the logits."""
    bias: str | None = None
    """Path from the MoE block to the correction bias, which is added to the scores for the choice, not the weights."""
    groups: str | None = None
    """How a group of experts is scored, `largest` or `two_largest`; only experts of the best groups can be chosen."""
    scaled: bool = False
    """Whether the weights are multiplied by the router's `routed_scaling_factor`."""
    epsilon: float = 0.0
    """Added to the sum that weights are divided by."""


_DEEPSEEK_V3 = Family(
    score="sigmoid", bias="router.e_score_correction_bias", groups="two_largest", scaled=True, epsilon=1e-20
)

FAMILIES: dict[str, Family] = {
    "deepseek_v2": Family(groups="largest", scaled=True),
    "deepseek_v3": _DEEPSEEK_V3,
    "glm4_moe": _DEEPSEEK_V3,
    "dots1": _DEEPSEEK_V3,
    "axk1": _DEEPSEEK_V3,
    "exaone_moe": _DEEPSEEK_V3,
    "glm4_moe_lite": _DEEPSEEK_V3,
    "mimo_v2_flash": _DEEPSEEK_V3,
    "solar_open": _DEEPSEEK_V3,
    "minimax_m2": Family(score="sigmoid", in_float32=True, bias="module.e_score_correction_bias"),
    "lfm2_moe": Family(score="sigmoid", bias="module.expert_bias", scaled=True, epsilon=1e-6),
    "ernie4_5_moe": Family(bias="router.moe_statics.e_score_correction_bias"),
}
"""By `model_type` of the text model's config."""


class Router:
    """The family's arithmetic for one MoE block.

    Args:
        block: with the router's module and the block that holds it.
        structure: `switchyard.models.structure` of its model: `model_type`, `normalise`, `top_k`.
    """

    def __init__(self, block: MoEBlock, structure: dict[str, Any]) -> None:
        self.block = block
        self.family = FAMILIES.get(structure["model_type"], Family())
        self.normalise: bool = structure["normalise"]
        self.top_k: int = structure["top_k"]
        self.groups = self._groups()
        self.scale = float(block.router.routed_scaling_factor) if self.family.scaled else 1.0

    def _groups(self) -> tuple[int, int] | None:
        """Groups there are and groups that a token may use; None where a token may use all experts."""
        router = self.block.router
        if self.family.groups is None or getattr(router, "topk_method", "") == "greedy":
            return None
        return (router.num_group, router.topk_group) if router.topk_group < router.num_group else None

    @property
    def rules_see_logits(self) -> bool:
        """Whether softmax of what a rule sees is the router's probabilities."""
        return self.family.score == "softmax" and self._bias() is None and not self.groups

    @property
    def is_plain(self) -> bool:
        """Whether logits are the scores, and softmax of them, divided by its sum or not, the weights."""
        return self.rules_see_logits and self.scale == 1.0

    def probabilities(self, logits: Tensor) -> Tensor:
        """The router's own probability or score of each expert, float32 [tokens, num_experts]."""
        if self.family.score == "softmax":
            return logits.softmax(dim=-1, dtype=_float32())
        return (logits.float() if self.family.in_float32 else logits).sigmoid().float()

    def scores(self, logits: Tensor) -> Tensor:
        """What experts are chosen by, [tokens, num_experts]: the larger the earlier.

        The logits themselves, or with a correction bias the probabilities and it.
        """
        bias = self._bias()
        return logits if bias is None else self.probabilities(logits) + bias.to(logits.device).float()

    def probabilities_of(self, scores: Tensor) -> Tensor:
        """The router's probabilities from its scores, float32 [tokens, num_experts], but for the rounding of a bias."""
        bias = self._bias()
        if bias is None:
            return self.probabilities(scores)
        return (scores - bias.to(scores.device).float()).clamp(min=_float32_tiny())

    def log_probabilities(self, scores: Tensor) -> Tensor:
        """Numbers [tokens, num_experts] whose softmax is the probabilities divided by their sum, from the scores.

        The scores themselves where they are logits of a softmax. `models.scores.Scores` does the same for files.
        """
        if self.family.score == "softmax" and self._bias() is None:
            return scores
        return self.probabilities_of(scores).clamp(min=_float32_tiny()).log()

    def eligible(self, scores: Tensor) -> Tensor:
        """The scores [tokens, num_experts], minus infinity for experts outside the token's best groups."""
        if not self.groups:
            return scores
        num_groups, used = self.groups
        grouped = scores.unflatten(-1, (num_groups, -1))  # [tokens, groups, experts of a group]
        best = grouped.amax(-1) if self.family.groups == "largest" else grouped.topk(2, dim=-1).values.sum(-1)
        chosen = best.topk(used, dim=-1).indices
        allowed = best.new_zeros(best.shape).bool().scatter(-1, chosen, True)
        return grouped.masked_fill(~allowed.unsqueeze(-1), float("-inf")).flatten(-2)

    def weights(self, logits: Tensor, experts: Tensor, weighting: str = "model") -> Tensor:
        """Weights of experts [tokens, slots] by the family's convention, float32 [tokens, slots], 0 in unused slots.

        `model`: as trained. `sum_to_one`: divided by their sum. `trained_mass`: rescaled to the mass of the token's own
        trained top-k. All times the family's scale.
        """
        probabilities = self.probabilities(logits)
        num_experts = probabilities.shape[-1]
        chosen = probabilities.gather(-1, experts.clamp(max=num_experts - 1)).masked_fill(
            experts == num_experts, 0.0
        )
        if weighting == "model" and not self.normalise:
            return chosen * self.scale
        total = chosen.sum(dim=-1, keepdim=True) + self.family.epsilon
        shares = chosen / total.masked_fill(total == 0.0, 1.0)
        if weighting == "trained_mass" and not self.normalise:
            trained = self.eligible(self.scores(logits)).topk(self.top_k, dim=-1).indices
            shares = shares * probabilities.gather(-1, trained).sum(dim=-1, keepdim=True)
        return shares * self.scale

    def inputs_beside_hidden(self) -> tuple[Tensor, ...]:
        """What the router's module is given beside hidden states.

        A bias [num_experts], where it belongs to the block around the router; else nothing.
        """
        bias = self._bias()
        return (bias,) if bias is not None and str(self.family.bias).startswith("module.") else ()

    def _bias(self) -> Tensor | None:
        if self.family.bias is None:
            return None
        owner, _, path = self.family.bias.partition(".")
        try:
            bias = attrgetter(path)(getattr(self.block, owner))
        except AttributeError:  # a config may leave it out
            return None
        return bias.reshape(-1)


def scores_of(routers: Sequence[Router]) -> Scores:
    """What the scores of a model's files are, from the routers of all its layers."""
    first, biases = routers[0], [router._bias() for router in routers]
    known = None if biases[0] is None else np.stack([bias.detach().float().cpu().numpy() for bias in biases])
    group_score = first.family.groups if first.groups else None
    return Scores(first.family.score, known, first.groups, group_score)


def _float32() -> Any:
    import torch

    return torch.float32


def _float32_tiny() -> float:
    import torch

    return torch.finfo(torch.float32).tiny
