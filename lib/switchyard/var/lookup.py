"""What a forward's tokens alone say of their routes, for all layers of a device at once, before any logits are.

L layers, T tokens of a forward, K slots of a route.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from switchyard.routing.selection import TokenContext
from switchyard.var.cache import Entries, Keys, find, surely_none, take
from switchyard.var.config import VARConfig
from switchyard.var.performance import PATHS
from switchyard.var.table import OnDevice

LEARNED, FAST, CACHED = range(len(PATHS))
"""Values of `Selection.path`."""


class FastPath(NamedTuple):
    """The table under a forward's thresholds; never made where no token id may take the fast path."""

    table: OnDevice
    eligible: Tensor  # bool [rows of the table, token ids]
    ids: Tensor  # int64 [T], places of the tokens in the table
    used: int  # experts of a route


class LookedUp(NamedTuple):
    """Routes that are known, [L, ...]; of one layer without the first axis."""

    path: Tensor  # int8 [L, T]
    found: Tensor  # int64 [L, T], entry of the cache, -1 for none
    experts: Tensor  # int64 [L, T, K], anything on the learned path, -1 in unused slots
    weights: Tensor  # float32 [L, T, K], as stored


class Learned(NamedTuple):
    """What the model's own router chooses, [T, ...]; of several layers with a first axis [L, ...]."""

    experts: Tensor  # int64 [T, K]
    weights: Tensor  # float32 [T, K]
    confidence: Tensor  # float32 [T]


@dataclass
class Forward:
    """A forward in progress on one device."""

    context: TokenContext
    config: VARConfig
    """As it stood when the forward began."""
    fast_path: FastPath | None
    keys: Keys | None
    """None where the cache is off."""
    entries: Entries | None
    """What the forward reads; None where nothing has been written yet."""
    looked_up: dict[int, LookedUp | None] = field(default_factory=dict)
    """By layer; None where all tokens are learned."""
    learned: dict[int, Learned] = field(default_factory=dict)
    """By layer, as far as the forward has come."""


def places(context: TokenContext, table: OnDevice) -> Tensor:
    """Where each token id stands in the table, int64 [T]; the blank place for one that it does not know."""
    blank = table.frequency.shape[1] - 1
    return torch.where(context.token_id < 0, blank, context.token_id.clamp(max=blank))


def look_up(forward: Forward, table_rows: Tensor | None, entries: Entries | None) -> LookedUp | None:
    """The known routes of L layers with rows [L, 1] of the table and caches `entries`; None where there are none."""
    fast = _fast(forward, table_rows)
    found = None if entries is None else _found(forward, fast, entries)
    if fast is None and found is None:
        return None
    if fast is None:
        return LookedUp(_path(found >= 0, CACHED), found, *_cached(entries, found))
    experts, weights = _from_table(forward.fast_path, table_rows)
    if found is None:
        return LookedUp(_path(fast, FAST), torch.full_like(fast, -1, dtype=torch.int64), experts, weights)
    cached = _cached(entries, found)
    path = _path(fast, FAST) + _path(found >= 0, CACHED)
    slots = fast[:, :, None]
    return LookedUp(
        path, found, torch.where(slots, experts, cached[0]), torch.where(slots, weights, cached[1])
    )


def stacked(forward: Forward, layers: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """`path` and `found` [L, T] of some layers; all learned where nothing was looked up."""
    tokens, device = len(forward.context.token_id), forward.context.token_id.device
    learned = torch.zeros(tokens, dtype=torch.int8, device=device), torch.full((tokens,), -1, device=device)
    known = [forward.looked_up[layer] for layer in layers]
    each = [learned if one is None else (one.path, one.found) for one in known]
    path, found = map(torch.stack, zip(*each, strict=True))
    return path, found


def _fast(forward: Forward, table_rows: Tensor | None) -> Tensor | None:
    """Tokens that the table routes, bool [L, T]; None where there are none."""
    if (path := forward.fast_path) is None:
        return None
    fast = path.eligible[table_rows, path.ids] & forward.context.is_token
    return None if surely_none(fast) else fast


def _found(forward: Forward, fast: Tensor | None, entries: Entries) -> Tensor | None:
    """The entry of each token that the table does not route, int64 [L, T]; None where there is none."""
    usable = forward.keys.usable
    asked = usable.expand(len(entries.hash), -1) if fast is None else usable & ~fast
    found = find(entries, forward.keys, asked)
    return None if surely_none(found >= 0) else found


def _path(rows: Tensor, path: int) -> Tensor:
    return rows.to(torch.int8) * path


def _cached(entries: Entries, found: Tensor) -> tuple[Tensor, Tensor]:
    entry = found.clamp(min=0)
    return take(entries.experts, entry), take(entries.weights, entry)


def _from_table(fast_path: FastPath, table_rows: Tensor) -> tuple[Tensor, Tensor]:
    """The first `used` experts of each token's row and all its weights."""
    experts = fast_path.table.experts[table_rows, fast_path.ids].long()
    experts[:, :, fast_path.used :] = -1
    return experts, fast_path.table.weights[table_rows, fast_path.ids]
