"""Experts from the largest logit down: the sort that every adaptive rule begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

FEW_TOKENS = 64
"""Below as many, building the keys takes longer than PyTorch's sort; same answer."""


def rank(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logits from the largest down and the experts they belong to, both [tokens, num_experts]; ties to the lower index.

    On a CPU one 64-bit integer holds a logit and its expert, so that NumPy's vectorised sort of integers does the
    work of a stable sort with indices.
    """
    has_keys = logits.device.type == "cpu" and logits.dtype != torch.float64 and len(logits) >= FEW_TOKENS
    if torch.compiler.is_compiling() or not has_keys:
        return torch.sort(logits, dim=-1, descending=True, stable=True)
    keys = _keys(logits.detach().float().numpy())
    keys.sort(axis=-1)
    order = torch.from_numpy(keys & 0xFFFFFFFF)
    return logits.gather(-1, order), order


def _keys(logits: np.ndarray) -> np.ndarray:
    """int64 in the shape of the float32 logits: smaller for a larger logit, then for a lower index.

    The bits of a float32 that is not negative, read as an integer, are in the order of the numbers; those of negative
    ones are so with all bits but the sign's flipped. Adding 0.0 makes one zero of two.
    """
    bits = (logits + np.float32(0.0)).view(np.int32)
    ascending = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return ((~ascending).astype(np.int64) << 32) | np.arange(logits.shape[-1])
