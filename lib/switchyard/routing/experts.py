"""Experts that cost nothing where unused: the implementation `switchyard_ragged` of transformers' experts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch.nn.functional import embedding_bag, linear

# transformers decides here which device and dtype have a grouped product, and falls back on a loop where none has
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS, _grouped_mm

if TYPE_CHECKING:
    from torch import Tensor, nn

RAGGED = "switchyard_ragged"
"""Name under which `ragged_experts` is registered."""

_own: WeakKeyDictionary[nn.Module, Callable[..., Tensor]] = WeakKeyDictionary()


def ragged_experts(experts: nn.Module, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of each token's experts, [tokens, hidden_size]; 0 where it has none.

    `index` and `weights` are [tokens, slots]; a slot that holds num_experts is dropped before any product. Where no
    slot is empty the call is the model's own (see `remember`), so that feature off equals plain, bit for bit.
    """
    kept = (index < experts.num_experts).flatten().nonzero().squeeze(-1)  # [pairs], in token order
    if kept.numel() == index.numel() and experts in _own:
        return _own[experts](experts, hidden, index, weights)
    if kept.numel() == 0:
        return torch.zeros_like(hidden)
    expert, order = index.flatten()[kept].sort(stable=True)
    used = weights.flatten()[kept]
    if len(hidden) == 1:
        outputs = _grouped_experts(experts, hidden.repeat(len(kept), 1), expert)
        return (used[order] @ outputs.to(used.dtype)).to(hidden.dtype).unsqueeze(0)
    token = kept // index.shape[-1]
    outputs = _grouped_experts(experts, hidden.index_select(0, token[order]), expert)
    return _sum_by_token(outputs, order, token, used, len(hidden)).to(hidden.dtype)


def own_implementation(experts: nn.Module, name: str | None) -> Callable[..., Tensor]:
    """What `experts` would run under the implementation `name`; its class's plain forward for `eager` and None."""
    plain = type(experts).forward
    return ALL_EXPERTS_FUNCTIONS.get(name, getattr(plain, "__wrapped__", plain))


def remember(experts: nn.Module, implementation: Callable[..., Tensor]) -> None:
    """Let `ragged_experts` run `implementation` for `experts` where no slot is empty."""
    _own[experts] = implementation


def forget(experts: nn.Module) -> None:
    """Undo `remember`."""
    _own.pop(experts, None)


def _grouped_experts(experts: nn.Module, rows: Tensor, expert: Tensor) -> Tensor:
    """Each row [pairs, hidden_size] through its expert [pairs], which is sorted."""
    inner = _project(experts, "gate_up_proj" if experts.has_gate else "up_proj", rows, expert)
    inner = experts._apply_gate(inner) if experts.has_gate else experts.act_fn(inner)
    outputs = _project(experts, "down_proj", inner, expert)
    return experts.post_expert_norm(outputs) if experts.has_post_expert_norm else outputs


def _project(experts: nn.Module, name: str, rows: Tensor, expert: Tensor) -> Tensor:
    weight = getattr(experts, name)
    result = _grouped_linear(rows, weight.mT if experts.is_transposed else weight, expert)
    return result + getattr(experts, f"{name}_bias")[expert] if experts.has_bias else result


def _grouped_linear(rows: Tensor, weight: Tensor, expert: Tensor) -> Tensor:
    """Each row [pairs, in] times the matrix of its expert in `weight` [num_experts, out, in]: [pairs, out].

    `expert` [pairs] is sorted. A CPU's grouped product visits all experts, so that a few rows are quicker one by one.
    """
    num_experts = len(weight)
    if rows.device.type == "cpu" and len(rows) <= num_experts // 4:
        pairs = zip(rows.split(1), expert.tolist(), strict=True)
        return torch.cat([linear(row, weight[one]) for row, one in pairs])
    ids = torch.arange(num_experts, device=expert.device)
    ends = torch.searchsorted(expert, ids, right=True, out_int32=True)  # where each one's rows end
    return _grouped_mm(rows, weight.mT, ends)


def _sum_by_token(outputs: Tensor, order: Tensor, token: Tensor, weights: Tensor, tokens: int) -> Tensor:
    """Weighted sums, [tokens, hidden_size], of the outputs [pairs, hidden_size] that stand in `order`.

    A bag adds its rows one after the other, in the order of the slots: no atomics, the same bits every time.
    """
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    starts = torch.searchsorted(token, torch.arange(tokens, device=token.device))
    return embedding_bag(place, outputs.to(weights.dtype), starts, mode="sum", per_sample_weights=weights)


ALL_EXPERTS_FUNCTIONS.register(RAGGED, ragged_experts)
