"""Grouped products of rows with their experts. A few packed experts are expanded at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import linear

# transformers decides here which device and dtype have a grouped product, and falls back on a loop where none has
from transformers.integrations.moe import _grouped_mm

from switchyard.models.used_experts import UsedExperts

if TYPE_CHECKING:
    from torch import Tensor, nn

    Product = Callable[[Tensor, Tensor], Tensor]


def through_experts(
    experts: nn.Module | UsedExperts, rows: Tensor, expert: Tensor, *, one_by_one: bool
) -> Tensor:
    """Each row [pairs, hidden_size] through its expert [pairs], which is sorted: [pairs, hidden_size].

    Rows whose expert is num_experts or more are left undefined. `one_by_one` multiplies each row by itself. The sums of
    packed experts are those of the same experts expanded, on a CPU bit for bit.
    """
    whole = _product(expert, experts.num_experts, one_by_one)  # for both projections
    multiply = partial(_project, experts, expert=expert, whole=whole, one_by_one=one_by_one)
    inner = multiply("gate_up_proj" if experts.has_gate else "up_proj", rows)
    inner = experts._apply_gate(inner) if experts.has_gate else experts.act_fn(inner)
    outputs = multiply("down_proj", inner)
    return experts.post_expert_norm(outputs) if experts.has_post_expert_norm else outputs


def few_rows(experts: nn.Module | UsedExperts, expert: Tensor) -> bool:
    """Whether so few rows [pairs] are quicker one by one: a CPU's grouped product visits all experts.

    Few in comparison with all experts of the layer, so that the sums are the same where only used ones are at hand.
    """
    all_experts = getattr(experts, "all_experts", experts.num_experts)
    is_cpu = expert.device.type == "cpu" and not torch.compiler.is_compiling()
    return is_cpu and len(expert) <= all_experts // 4


def sum_with_fixed_shapes(
    experts: nn.Module | UsedExperts, hidden: Tensor, index: Tensor, weights: Tensor
) -> Tensor:
    """Weighted sums [tokens, hidden_size] of the experts `index` [tokens, slots].

    For experts that are not packed, and under `torch.compile`, no shape depends on values.
    Empty slots, which hold num_experts, are sorted behind the last expert's rows. The grouped product leaves their rows
    as they are, so that they take memory and no product. Without empty slots the sums are those of transformers'
    `grouped_mm`, bit for bit.
    """
    tokens, slots = index.shape
    expert, order = index.flatten().sort(stable=True)
    outputs = through_experts(experts, hidden[order // slots], expert, one_by_one=False)
    outputs = outputs.masked_fill_((expert == experts.num_experts).unsqueeze(-1), 0.0)
    in_place = torch.empty_like(outputs).index_copy_(0, order, outputs)
    del outputs
    return (in_place.view(tokens, slots, -1) * weights.unsqueeze(-1)).sum(dim=1).to(hidden.dtype)


def _project(
    experts: nn.Module | UsedExperts,
    name: str,
    rows: Tensor,
    *,
    expert: Tensor,
    whole: Product,
    one_by_one: bool,
) -> Tensor:
    """Rows [pairs, in] times the matrix `name` of each one's expert: [pairs, out].

    `whole` multiplies by all experts at once.
    """
    parts = experts.parts(name) if isinstance(experts, UsedExperts) else [getattr(experts, name)]
    result, first, begin = None, 0, 0
    for weight in parts:
        last = first + len(weight)
        is_last = last == experts.num_experts  # the rows of no expert are with the last part
        matrices = weight.mT if experts.is_transposed else weight
        if first == 0 and is_last:
            result = whole(rows, matrices)
        else:
            end = len(rows) if is_last else int(torch.searchsorted(expert, last))
            found = _product(expert[begin:end] - first, len(weight), one_by_one)(rows[begin:end], matrices)
            result = found.new_empty(len(rows), found.shape[-1]) if result is None else result
            result[begin:end] = found
            begin = end
        first = last
        del weight, matrices  # before the next part is expanded
    if not experts.has_bias:
        return result
    return result + getattr(experts, f"{name}_bias")[expert.clamp(max=experts.num_experts - 1)]


def _product(expert: Tensor, num_experts: int, one_by_one: bool) -> Product:
    """Multiplies rows [pairs, in] by the matrix of each one's expert in a weight [num_experts, out, in]: [pairs, out].

    `expert` [pairs] is sorted.
    """
    if one_by_one:
        return partial(_one_by_one, expert.tolist())
    ids = torch.arange(num_experts, device=expert.device)
    ends = torch.searchsorted(expert, ids, right=True, out_int32=True)  # where each one's rows end
    return lambda rows, weight: _grouped_mm(rows, weight.mT, ends)


def _one_by_one(expert: list[int], rows: Tensor, weight: Tensor) -> Tensor:
    return torch.cat([linear(row, weight[one]) for row, one in zip(rows.split(1), expert, strict=True)])
