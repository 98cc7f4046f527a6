"""How loud each chosen expert is: three ways to turn router probabilities into weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from switchyard.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTINGS = ("model", "sum_to_one", "trained_mass")


def check_weighting(weighting: str) -> None:
    """Raise InputError for a name that is not in WEIGHTINGS."""
    if weighting not in WEIGHTINGS:
        raise InputError(f"weighting {weighting!r} is unknown: use one of {', '.join(WEIGHTINGS)}")


def router_probabilities(logits: Tensor) -> Tensor:
    """The model's own call: softmax in float32, [tokens, num_experts]."""
    return torch.softmax(logits, dim=-1, dtype=torch.float32)


def weigh(
    chosen: Tensor, logits: Tensor, *, weighting: str, trained_top_k: int | None, normalise: bool | None
) -> Tensor:
    """Weights, float32 [tokens, slots], from the probabilities `chosen` [tokens, slots] (0 in unused slots).

    `model`: as trained, the probabilities, divided by their sum if `normalise`. `sum_to_one`: always divided.
    `trained_mass`: rescaled so that they sum to the mass of the token's own trained top-k, which is 1 for a model
    that normalises. An empty selection has weights 0.
    """
    if weighting == "model" and not normalise:
        return chosen
    shares = _divide(chosen, chosen.sum(dim=-1, keepdim=True))
    if weighting == "trained_mass" and not normalise:
        return shares * _trained_mass(logits, trained_top_k)
    return shares


def _divide(chosen: Tensor, total: Tensor) -> Tensor:
    return chosen / total.masked_fill(total == 0.0, 1.0)


def _trained_mass(logits: Tensor, trained_top_k: int | None) -> Tensor:
    if trained_top_k is None:
        raise InputError(
            "weighting 'trained_mass' needs the model's trained top-k: attach the rule or pass trained_top_k"
        )
    return router_probabilities(logits).topk(trained_top_k, dim=-1).values.sum(dim=-1, keepdim=True)
