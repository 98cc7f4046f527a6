"""Experts that cost nothing where unused: the implementation `switchyard_ragged` of transformers' experts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch.nn.functional import embedding_bag
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from switchyard.models.grouped import few_rows, sum_with_fixed_shapes, through_experts
from switchyard.models.used_experts import is_packed, only_used

if TYPE_CHECKING:
    from torch import Tensor, nn

RAGGED = "switchyard_ragged"
"""Name under which `ragged_experts` is registered."""

STATIC_PAIRS = 4096
"""On a card, up to so many slots run with shapes that do not depend on values: a token's decoding is then never waited
for. More of them would take memory for slots that are empty."""

MOST_ELEMENTS = 2**31 - 1
"""Of a tensor of rows: kernels may count its elements in 32 bits."""

_own: WeakKeyDictionary[nn.Module, Callable[..., Tensor]] = WeakKeyDictionary()


def ragged_experts(experts: nn.Module, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of each token's experts, [tokens, hidden_size]; 0 where it has none.

    `index` and `weights` are [tokens, slots]; a slot that holds num_experts is dropped before any product. Where no
    slot is empty the call is the model's own (see `remember`), so that feature off equals plain, bit for bit; but for a
    few rows on a card, where the host would have to wait to know. Of packed experts, the used ones are expanded.
    """
    if len(hidden) > 1 and index.numel() * _widest(experts) > MOST_ELEMENTS:
        halves = [part.chunk(2) for part in (hidden, index, weights)]
        return torch.cat([ragged_experts(experts, *half) for half in zip(*halves)])
    if torch.compiler.is_compiling() or (_is_on_card(hidden) and index.numel() <= STATIC_PAIRS):
        experts, index = only_used(experts, index) if is_packed(experts) else (experts, index)
        return sum_with_fixed_shapes(experts, hidden, index, weights)
    kept = (index < experts.num_experts).flatten().nonzero().squeeze(-1)  # [pairs], in token order
    if kept.numel() == index.numel() and experts in _own:
        return _own[experts](experts, hidden, index, weights)
    if kept.numel() == 0:
        return torch.zeros_like(hidden)
    if is_packed(experts):
        experts, index = only_used(experts, index)
    expert, order = index.flatten()[kept].sort(stable=True)
    used, few = weights.flatten()[kept], few_rows(experts, expert)
    if len(hidden) == 1:
        outputs = through_experts(experts, hidden.repeat(len(kept), 1), expert, one_by_one=few)
        return (used[order] @ outputs.to(used.dtype)).to(hidden.dtype).unsqueeze(0)
    token = kept // index.shape[-1]
    outputs = through_experts(experts, hidden.index_select(0, token[order]), expert, one_by_one=few)
    return _sum_by_token(outputs, order, token, used, len(hidden)).to(hidden.dtype)


def _widest(experts: nn.Module) -> int:
    """The most elements that a row of an expert's matrices has before or after them."""
    return max(getattr(experts, "gate_up_proj" if experts.has_gate else "up_proj").shape[-2:])


def _is_on_card(hidden: Tensor) -> bool:
    return hidden.is_cuda


def own_implementation(experts: nn.Module, name: str | None) -> Callable[..., Tensor]:
    """What `experts` would run under the implementation `name`; its class's plain forward for `eager` and None.

    See `ragged_experts` for the arguments of the function.
    """
    plain = type(experts).forward
    return ALL_EXPERTS_FUNCTIONS.get(name, getattr(plain, "__wrapped__", plain))


def remember(experts: nn.Module, implementation: Callable[..., Tensor]) -> None:
    """Let `ragged_experts` run `implementation` for `experts` where no slot is empty.

    See `ragged_experts` for the arguments of `implementation`.
    """
    _own[experts] = implementation


def forget(experts: nn.Module) -> None:
    """Undo `remember`."""
    _own.pop(experts, None)


def _sum_by_token(outputs: Tensor, order: Tensor, token: Tensor, weights: Tensor, tokens: int) -> Tensor:
    """Weighted sums, [tokens, hidden_size], of the outputs [pairs, hidden_size] that stand in `order`.

    A bag adds its rows one after the other, in the order of the slots: no atomics, the same bits every time.
    """
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    starts = torch.searchsorted(token, torch.arange(tokens, device=token.device))
    return embedding_bag(place, outputs.to(weights.dtype), starts, mode="sum", per_sample_weights=weights)


ALL_EXPERTS_FUNCTIONS.register(RAGGED, ragged_experts)
