"""A mixture of experts as a double loop: what every experts implementation must equal."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def weighted_experts(experts: nn.Module, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """[tokens, hidden_size], float32; slots that hold num_experts are skipped."""
    result = torch.zeros(hidden.shape, dtype=torch.float32)
    for token, row in enumerate(hidden.float()):
        for expert, weight in zip(index[token].tolist(), weights[token].float()):
            if expert < experts.num_experts:
                gate, up = (experts.gate_up_proj[expert].float() @ row).chunk(2)
                inner = nn.functional.silu(gate) * up
                result[token] += weight * (experts.down_proj[expert].float() @ inner)
    return result
