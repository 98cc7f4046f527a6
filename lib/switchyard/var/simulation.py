"""How many hits a cache that is read and written token by token would have had, against the one of a whole forward.

A forward asks for all its routes before any of them is known, so that VAR's cache is read as it stood before it. A
strictly sequential cache would also hit what earlier tokens of the same forward wrote. It cannot be run inside a
forward, but a recorded stream says what it would have found.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from switchyard.errors import InputError
from switchyard.routing.weighting import router_probabilities
from switchyard.var.config import VARConfig
from switchyard.var.lookup import FAST

if TYPE_CHECKING:
    from torch import Tensor

    from switchyard.routing.selection import Selection, TokenContext

_Key = tuple[int, ...]


class Stream(NamedTuple):
    """The T real tokens that one layer was shown, in row-major order; W previous ids of each, the nearest last."""

    token_id: np.ndarray  # int64 [T]
    previous: np.ndarray  # int64 [T, W], -1 where there is none
    confidence: np.ndarray  # float32 [T], largest router probability
    forward: np.ndarray  # int64 [T], number of the forward, ascending
    fast: np.ndarray | None = None  # bool [T], tokens that take the fast path; None for none


class Recorder:
    """An `attach` observer of VAR that keeps the stream of every layer."""

    def __init__(self) -> None:
        self._forward = -1
        self._parts: dict[int, list[Stream]] = defaultdict(list)

    def observe(self, layer: int, logits: Tensor, selection: Selection, context: TokenContext) -> None:
        """Take one layer of a forward, `logits` [tokens, num_experts]; padding is left out."""
        self._forward += not self._parts or layer == min(self._parts)
        real = context.is_token
        columns = (
            context.token_id,
            context.previous,
            router_probabilities(logits).amax(dim=-1),
            torch.full_like(context.token_id, self._forward),
            selection.path == FAST,
        )
        self._parts[layer].append(Stream(*(column[real].cpu().numpy() for column in columns)))

    def streams(self) -> dict[int, Stream]:
        """By layer."""
        return {
            layer: Stream(*map(np.concatenate, zip(*parts, strict=True)))
            for layer, parts in self._parts.items()
        }


class Simulation(NamedTuple):
    """Look-ups of one layer and how many of them hit."""

    lookups: int
    forward_hits: int
    """By a cache that is written after each forward."""
    sequential_hits: int
    """By a cache that is written after each token."""


def simulate(stream: Stream, config: VARConfig, tokens_per_second: float) -> Simulation:
    """Run both caches over a recorded stream.

    Raises:
        InputError: `previous` holds fewer ids than the config's `context_window_size`, or the columns differ in length.
    """
    lengths = {len(column) for column in stream if column is not None}
    if len(lengths) > 1:
        raise InputError("var: the columns of a stream differ in length; record every token in all of them")
    if stream.previous.shape[1] < config.context_window_size:
        raise InputError(
            f"var: the stream has {stream.previous.shape[1]} previous ids, context_window_size is "
            f"{config.context_window_size}; record more or lower it"
        )
    forwards = [len(list(rows)) for _, rows in groupby(stream.forward.tolist())]
    lookups, forward_hits = _hits(stream, config, tokens_per_second, forwards)
    _, sequential_hits = _hits(stream, config, tokens_per_second, [1] * len(stream.token_id))
    return Simulation(lookups, forward_hits, sequential_hits)


def _hits(stream: Stream, config: VARConfig, rate: float, steps: list[int]) -> tuple[int, int]:
    """Look-ups and hits of a cache that is written after steps of so many tokens."""
    if not config.cache_size:
        return 0, 0
    keys, asks = _keys(stream, config), _asks(stream)
    confident = (stream.confidence.astype(np.float32) >= np.float32(config.confidence_threshold)).tolist()
    written: OrderedDict[_Key, float] = OrderedDict()  # the least recently hit or written first
    writes: deque[tuple[float, _Key]] = deque()  # the oldest first
    start = hits = 0
    for step in steps:
        _drop_old(written, writes, start / rate - config.cache_ttl_seconds)
        rows = [row for row in range(start, start + step) if asks[row]]
        hit = {keys[row] for row in rows} & written.keys()
        start += step
        for row in rows:
            if keys[row] in hit:
                hits += 1
            elif confident[row]:
                written[keys[row]] = start / rate
                writes.append((start / rate, keys[row]))
            else:
                continue
            written.move_to_end(keys[row])
        _evict(written, config)
    return sum(asks), hits


def _keys(stream: Stream, config: VARConfig) -> list[_Key]:
    near = stream.previous[:, stream.previous.shape[1] - config.context_window_size :]
    return list(map(tuple, np.column_stack([stream.token_id, near]).tolist()))


def _asks(stream: Stream) -> list[bool]:
    fast = np.zeros(len(stream.token_id), bool) if stream.fast is None else stream.fast
    return (~fast).tolist()


def _drop_old(written: OrderedDict[_Key, float], writes: deque[tuple[float, _Key]], oldest: float) -> None:
    while writes and writes[0][0] < oldest:
        time, key = writes.popleft()
        if written.get(key) == time:
            del written[key]


def _evict(written: OrderedDict[_Key, float], config: VARConfig) -> None:
    while len(written) > config.cache_size:
        written.popitem(last=False)
