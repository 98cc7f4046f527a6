"""Experts that cost nothing where unused: the implementation `switchyard_ragged` of transformers' experts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch.nn.functional import embedding_bag, linear

# transformers decides here which device and dtype have a grouped product, and falls back on a loop where none has
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS, _grouped_mm

from switchyard.models.used_experts import is_packed, only_used

if TYPE_CHECKING:
    from torch import Tensor, nn

    Product = Callable[[Tensor, Tensor], Tensor]

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
        return _with_fixed_shapes(experts, hidden, index, weights)
    kept = (index < experts.num_experts).flatten().nonzero().squeeze(-1)  # [pairs], in token order
    if kept.numel() == index.numel() and experts in _own:
        return _own[experts](experts, hidden, index, weights)
    if kept.numel() == 0:
        return torch.zeros_like(hidden)
    if is_packed(experts):
        experts, index = only_used(experts, index)
    expert, order = index.flatten()[kept].sort(stable=True)
    used = weights.flatten()[kept]
    if len(hidden) == 1:
        outputs = _grouped_experts(experts, hidden.repeat(len(kept), 1), expert)
        return (used[order] @ outputs.to(used.dtype)).to(hidden.dtype).unsqueeze(0)
    token = kept // index.shape[-1]
    outputs = _grouped_experts(experts, hidden.index_select(0, token[order]), expert)
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


def _with_fixed_shapes(experts: nn.Module, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """The same sums without a shape that depends on values, for `torch.compile` and for decoding on a card.

    Empty slots are sorted behind the last expert's rows. The grouped product leaves their rows as they are, so that
    they take memory and no product.
    """
    tokens, slots = index.shape
    expert, order = index.flatten().sort(stable=True)
    outputs = _grouped_experts(experts, hidden[order // slots], expert)
    outputs = outputs.masked_fill((expert == experts.num_experts).unsqueeze(-1), 0.0)
    in_place = torch.empty_like(outputs).index_copy(0, order, outputs)
    return (in_place.view(tokens, slots, -1) * weights.unsqueeze(-1)).sum(dim=1).to(hidden.dtype)


def _grouped_experts(experts: nn.Module, rows: Tensor, expert: Tensor) -> Tensor:
    """Each row [pairs, hidden_size] through its expert [pairs], which is sorted."""
    multiply = _product(expert, experts.num_experts, getattr(experts, "all_experts", experts.num_experts))
    inner = _project(experts, "gate_up_proj" if experts.has_gate else "up_proj", rows, expert, multiply)
    inner = experts._apply_gate(inner) if experts.has_gate else experts.act_fn(inner)
    outputs = _project(experts, "down_proj", inner, expert, multiply)
    return experts.post_expert_norm(outputs) if experts.has_post_expert_norm else outputs


def _project(experts: nn.Module, name: str, rows: Tensor, expert: Tensor, multiply: Product) -> Tensor:
    weight = getattr(experts, name)
    result = multiply(rows, weight.mT if experts.is_transposed else weight)
    if not experts.has_bias:
        return result
    return result + getattr(experts, f"{name}_bias")[expert.clamp(max=experts.num_experts - 1)]


def _product(expert: Tensor, num_experts: int, all_experts: int) -> Product:
    """Multiplies rows [pairs, in] by the matrix of each one's expert in a weight [num_experts, out, in]: [pairs, out].

    `expert` [pairs] is sorted. A CPU's grouped product visits all experts, so that a few rows are quicker one by one:
    few in comparison with `all_experts` of the layer, so that the sums are the same where only used ones are at hand.
    """
    is_cpu = expert.device.type == "cpu" and not torch.compiler.is_compiling()
    if is_cpu and len(expert) <= all_experts // 4:
        return partial(_one_by_one, expert.tolist())
    ids = torch.arange(num_experts, device=expert.device)
    ends = torch.searchsorted(expert, ids, right=True, out_int32=True)  # where each one's rows end
    return lambda rows, weight: _grouped_mm(rows, weight.mT, ends)


def _one_by_one(expert: list[int], rows: Tensor, weight: Tensor) -> Tensor:
    return torch.cat([linear(row, weight[one]) for row, one in zip(rows.split(1), expert, strict=True)])


def _sum_by_token(outputs: Tensor, order: Tensor, token: Tensor, weights: Tensor, tokens: int) -> Tensor:
    """Weighted sums, [tokens, hidden_size], of the outputs [pairs, hidden_size] that stand in `order`.

    A bag adds its rows one after the other, in the order of the slots: no atomics, the same bits every time.
    """
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    starts = torch.searchsorted(token, torch.arange(tokens, device=token.device))
    return embedding_bag(place, outputs.to(weights.dtype), starts, mode="sum", per_sample_weights=weights)


ALL_EXPERTS_FUNCTIONS.register(RAGGED, ragged_experts)
