"""Packed experts (`switchyard.models.packed`) inside a forward: the used ones alone. bitsandbytes is not imported."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from switchyard.models.quantised_sizes import EXPANDED

PACKED = "switchyard_packed"
"""Name of the quantiser, and of the experts implementation that a model with packed experts runs by itself."""


def is_packed(experts: nn.Module) -> bool:
    """Whether a module is experts with packed matrices."""
    return hasattr(experts, "num_experts") and hasattr(getattr(experts, "down_proj", None), "codes")


class UsedExperts:
    """Stands for packed experts inside a forward: the experts `used` [n] alone, or all; `parts` expands matrices."""

    def __init__(self, experts: nn.Module, used: Tensor | None) -> None:
        self._experts, self._used = experts, used
        self.all_experts = experts.num_experts
        self.num_experts = experts.num_experts if used is None else len(used)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._experts, name)
        if isinstance(value, nn.Parameter) and self._used is not None:  # a bias of each expert
            return value[self._used]
        return value

    def parts(self, name: str) -> Iterable[Tensor]:
        """The matrices `name` [some, rows, columns] of a few experts after the other, expanded when asked for.

        Whoever asks is to drop a part before the next one.
        """
        packed = getattr(self._experts, name)
        if self._used is None:
            return [packed.expand()]
        limit = EXPANDED[(packed.device or packed.codes.device).type]
        each = max(1, limit // (packed.shape[1:].numel() * packed.dtype.itemsize))
        return (packed.expand(some) for some in self._used.split(each))


def only_used(experts: nn.Module, index: Tensor) -> tuple[UsedExperts, Tensor]:
    """The used ones of packed experts, and `index` [tokens, slots] with their new numbers.

    An empty slot holds num_experts before and after. Under `torch.compile` all are expanded: how many are used would
    be a shape that depends on values.
    """
    if torch.compiler.is_compiling():
        return UsedExperts(experts, None), index
    places = torch.arange(experts.num_experts + 1, device=index.device)
    used = torch.zeros_like(places, dtype=torch.bool).index_fill(0, index.flatten(), True)[:-1]
    used = used.nonzero().squeeze(-1)
    places = places.fill_(len(used)).index_copy_(0, used, torch.arange(len(used), device=index.device))
    return UsedExperts(experts, used), places[index]
