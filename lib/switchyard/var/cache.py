"""The context cache of all layers on one device: found and written for a whole forward at once.

A key is the current token id and its predecessors. It is stored whole and compared whole, so that no hit is ever
wrong. It is looked for by a 64-bit hash; should two keys of a cache or of a forward have the same one (a chance of
about 3e-14 among 1,000 keys), one of them is not found.

L layers, N entries per layer, T tokens of a forward, W token ids of a key, K slots of a route.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from switchyard.routing.selection import TokenContext


class Keys(NamedTuple):
    """The keys of a forward's rows."""

    ids: Tensor  # int64 [T, W]
    ordered: Tensor  # int64 [T], hashes in ascending order
    row: Tensor  # int64 [T], row of the first key with the hash of that place
    group: Tensor  # int64 [T], place in `ordered` of each row's hash
    usable: Tensor  # bool [T], real tokens whose key is that of their group


class Entries(NamedTuple):
    """The caches of L layers."""

    ids: Tensor  # int64 [L, N, W], the keys
    hash: Tensor  # int64 [L, N]
    recency: Tensor  # int64 [L, N], number of the row that hit or wrote it last, counted over all forwards; -1: empty
    written: Tensor  # float64 [L, N], seconds
    experts: Tensor  # int64 [L, N, K]
    weights: Tensor  # float32 [L, N, K]


class Routes(NamedTuple):
    """What may be written after a forward."""

    wanted: Tensor  # bool [L, T]
    experts: Tensor  # int64 [L, T, K]
    weights: Tensor  # float32 [L, T, K]


def make_keys(context: TokenContext, window: int) -> Keys:
    """The keys of a forward: the ids of `context` and the `window` nearest ones before each."""
    current = context.token_id[:, None]
    ids = torch.cat([current, context.previous[:, -window:]], dim=1) if window else current
    hashes = _hash(ids)
    ordered, order = hashes.sort(stable=True)
    group = torch.searchsorted(ordered, hashes)
    usable = context.is_token & (context.token_id >= 0) & (ids[order[group]] == ids).all(dim=-1)
    return Keys(ids, ordered, order, group, usable)


def empty(layers: int, entries: int, window: int, slots: int, device: torch.device) -> Entries:
    """Caches without an entry."""
    size = (layers, entries)
    return Entries(
        torch.full((*size, 1 + window), -1, device=device),
        torch.zeros(size, dtype=torch.int64, device=device),
        torch.full(size, -1, device=device),
        torch.zeros(size, dtype=torch.float64, device=device),
        torch.zeros((*size, slots), dtype=torch.int64, device=device),
        torch.zeros((*size, slots), device=device),
    )


def current(entries: Entries, now: Tensor | float, *, ttl: float, size: int) -> Entries:
    """What a forward may read: without entries older than `ttl` seconds, and the `size` most recent of the others.

    `now` is in seconds. The entries that are returned are [L, `size`].
    """
    old = now - entries.written > ttl
    entries = entries._replace(recency=entries.recency.masked_fill(old, -1))
    held = entries.recency.shape[1]
    if size < held:
        kept = entries.recency.topk(size, dim=1).indices
        return Entries(*(take(column, kept) for column in entries))
    if size > held:
        layers, _, width = entries.ids.shape
        more = empty(layers, size - held, width - 1, entries.experts.shape[2], entries.hash.device)
        return Entries(*(torch.cat(pair, dim=1) for pair in zip(entries, more, strict=True)))
    return entries


def find(entries: Entries, keys: Keys, asked: Tensor) -> Tensor:
    """The entry of each row, int64 [L, T]; -1 where there is none or the row does not ask (`asked`, bool [L, T]).

    Entries are looked for among the sorted keys of the forward, which are the same for all layers.
    """
    layers, size = entries.hash.shape
    tokens = len(keys.ordered)
    place = torch.searchsorted(keys.ordered, entries.hash).clamp_(max=tokens - 1)  # [L, N]
    same = (keys.ordered[place] == entries.hash) & (entries.recency >= 0)
    numbers = torch.arange(size, device=place.device).expand_as(place)
    by_group = place.new_full((layers, tokens + 1), -1)
    by_group.scatter_(
        1, place.masked_fill(~same, tokens), numbers
    )  # the last column takes those that match no row
    found = by_group.gather(1, keys.group.expand(layers, -1))
    whole = (take(entries.ids, found.clamp(min=0)) == keys.ids).all(dim=-1)
    return found.masked_fill(~(asked & whole), -1)


def store(
    entries: Entries, keys: Keys, found: Tensor, routes: Routes, now: Tensor | float, first: int
) -> Entries:
    """The caches after a forward: hits (`found` [L, T]) are refreshed, then routes written, the least recent dropped.

    Of rows with the same key the last one is written. `first` is the number of the forward's first row. Tensors of
    `entries` are written in place.
    """
    if surely_none(routes.wanted) and surely_none(found >= 0):
        return entries
    layers, size = entries.hash.shape
    rows = torch.arange(found.shape[1], device=found.device).expand_as(found)  # [L, T]
    touched = _last(rows, found.masked_fill(found < 0, size), size)
    recency = torch.where(touched >= 0, touched + first, entries.recency)
    last = _last(rows, keys.group.expand_as(rows).masked_fill(~routes.wanted, rows.shape[1]), rows.shape[1])
    written = routes.wanted & (last.gather(1, keys.group.expand_as(rows)) == rows)
    most = min(size, rows.shape[1])
    row = torch.where(written, rows, -1).topk(most, dim=1).values  # [L, most], the most recent first
    least, slot = recency.topk(most, dim=1, largest=False)  # the least recent first
    taken, row = row + first > least.clamp(min=first - 1), row.clamp(min=0)  # [L, most]
    values = Entries(
        keys.ids[row],
        keys.ordered[keys.group[row]],
        row + first,
        torch.as_tensor(now, dtype=torch.float64, device=row.device).expand_as(row),
        take(routes.experts, row),
        take(routes.weights, row),
    )
    place = torch.arange(layers, device=row.device)[:, None], slot
    for column, value in zip(entries := entries._replace(recency=recency), values, strict=True):
        old = column[place]
        column[place] = torch.where(taken if old.ndim == 2 else taken[:, :, None], value, old)
    return entries


def _last(rows: Tensor, place: Tensor, places: int) -> Tensor:
    """The last row at each place, [L, places], -1 where none is; rows at the place `places` are left out."""
    last = rows.new_full((len(rows), places + 1), -1)
    return last.scatter_reduce_(1, place, rows, "amax")[:, :places]


def surely_none(flags: Tensor) -> bool:
    """Whether none of `flags`, bool [...], is set, as far as the host knows without waiting for a GPU: never on one."""
    return flags.device.type == "cpu" and not torch.compiler.is_compiling() and not bool(flags.any())


def take(column: Tensor, index: Tensor) -> Tensor:
    """Rows `index` [L, M] of each layer of `column` [L, N, ...]."""
    return column[torch.arange(len(index), device=index.device)[:, None], index]


def _hash(ids: Tensor) -> Tensor:
    """The sum of the ids, each times a fixed random odd number of its place, modulo 2^64: int64 [T]."""
    return (ids * _factors(ids.shape[1], ids.device)).sum(dim=1)


@cache
def _factors(width: int, device: torch.device) -> Tensor:
    drawn = np.random.default_rng(0).integers(-(2**63), 2**63, size=width, dtype=np.int64) | 1
    with torch.inference_mode(False):
        return torch.from_numpy(drawn).to(device)
