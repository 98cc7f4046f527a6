"""Packed weights, written as a loop over blocks and levels."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from switchyard.models.packed import PackedLinear, PackedWeights


def nearest_levels(weights: Tensor, levels: list[float], block: int) -> Tensor:
    """Each weight [n] as its nearest level times the largest magnitude of its block; of two as near the lower one."""
    found = []
    for start in range(0, len(weights), block):
        part = weights[start : start + block].float()
        scale = part.abs().max()
        for weight in part:
            share = weight / scale if scale > 0 else torch.tensor(0.0)
            found.append(scale * min(levels, key=lambda level: (abs(level - share.item()), level)))
    return torch.stack(found)


def dequantised(model: nn.Module, experts_implementation: str = "grouped_mm") -> nn.Module:
    """A copy of a packed model with ordinary parameters of the same values."""
    twin = copy.deepcopy(model)
    for name, module in list(twin.named_modules()):
        parent_name, _, own_name = name.rpartition(".")
        if isinstance(module, PackedLinear):
            matrix = module.weight.expand()[0]
            plain = nn.Linear(
                matrix.shape[1], matrix.shape[0], bias=module.bias is not None, dtype=matrix.dtype
            )
            plain.weight, plain.bias = nn.Parameter(matrix), module.bias
            setattr(twin.get_submodule(parent_name), own_name, plain)
        elif isinstance(module, PackedWeights) and own_name != "weight":
            parent = twin.get_submodule(parent_name)
            delattr(parent, own_name)
            setattr(parent, own_name, nn.Parameter(module.expand()))
    twin.set_experts_implementation(experts_implementation)
    return twin
