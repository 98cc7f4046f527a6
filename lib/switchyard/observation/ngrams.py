"""How often hashed n-grams used each expert: exact counts of an even sample of them, in bounded memory.

Of the n-grams that fall into a bucket, the one with the smallest hash has it, alone. Which one that is depends on which
n-grams there are, not on their order, and it has had the bucket since it first came, so that its counts are complete:
no bucket mixes two n-grams, shards merge exactly, and the n-grams that are kept are drawn evenly from all distinct ones
(the one-permutation scheme of min-wise hashing: Li, Owen and Zhang, 2012). Where buckets are many, nearly all are kept;
`kept` says what share of the tokens they cover.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pyarrow as pa

from switchyard.errors import InputError
from switchyard.observation.counters import share

PENDING_USES = 2**18
"""Uses that wait to be sorted into the counts, or as many as there are counts where those are more: 16 bytes each."""

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_FREE = np.uint64(2**64 - 1)
_ARRAYS = ("codes", "counts", "winner", "token_id", "uses")

SCHEMA = pa.schema(
    {
        "layer": pa.int16(),
        "domain": pa.string(),
        "context": pa.int8(),
        "key": pa.int32(),
        "token_id": pa.int32(),
        "expert": pa.int16(),
        "count": pa.int64(),
    }
)
"""Columns of `NGramCounts.table`: `context` is the number of previous tokens, `key` the bucket."""


class NGramCounts:
    """Uses of experts by (layer, domain, context, n-gram), for contexts of 1..`context_window` previous tokens.

    The previous tokens are those of the same window, special ones among them: a token with fewer than n before it is
    left out of context n. L layers, D domains, C contexts, B buckets below.

    Raises:
        InputError: `buckets` is outside 1..2^31, or `context_window` outside 0..127.
    """

    def __init__(
        self,
        layers: Sequence[int],
        num_experts: int,
        *,
        context_window: int,
        buckets: int,
        domains: Sequence[str] = ("all",),
    ) -> None:
        if not 1 <= buckets <= 2**31 or not 0 <= context_window <= 127:
            raise InputError(
                f"n-grams: {buckets} buckets, context_window {context_window}; give 1..2^31 and 0..127"
            )
        self.layers, self.domains = tuple(layers), tuple(domains)
        self.num_experts, self.context_window, self.buckets = num_experts, context_window, buckets
        self._axes = (len(self.layers), len(self.domains), context_window, buckets, num_experts)
        slots = context_window * buckets
        self.codes = np.empty(0, np.int64)  # sorted; indices along `_axes` as one number
        self.counts = np.empty(0, np.int64)
        self.winner = np.full(slots, _FREE)  # [C * B] hash of the n-gram that has the bucket
        self.token_id = np.full(slots, -1, np.int32)  # [C * B] its last token
        self.uses = np.zeros((len(self.domains), context_window), np.int64)  # [D, C] of a layer, kept or not
        self._since = np.zeros(slots, np.int64)  # [C * B] the contest in which it took the bucket
        self._now = 0  # contests so far
        self._settled = 0  # contests whose uses are in `counts`
        self._pending = np.empty(
            (2, 0), np.int64
        )  # codes, and the contest of each; arrays in a list would scatter
        self._filled = 0

    def update(
        self,
        token_id: np.ndarray,
        position: np.ndarray,
        domain: np.ndarray,
        experts: np.ndarray,
        counted: np.ndarray | None = None,
    ) -> None:
        """Count one batch.

        Args:
            token_id: int [T], window after window.
            position: int [T], place in the window.
            domain: int [T].
            experts: int [L, T, k] used by each token, k the same for all.
            counted: bool [T], False for tokens that are context only.
        """
        hashes = ngram_hashes(token_id, self.context_window)
        for context in range(self.context_window):
            whole = position > context
            rows = np.flatnonzero(whole if counted is None else whole & counted)
            tokens = np.bincount(domain[rows], minlength=len(self.domains))
            self.uses[:, context] += tokens * experts.shape[2]
            slots = context * self.buckets + bucket(hashes[context][rows], self.buckets)
            kept = self._contest(slots, hashes[context][rows], token_id[rows])
            self._count(slots[kept], domain[rows[kept]], experts[:, rows[kept]])

    def _contest(self, slots: np.ndarray, hashes: np.ndarray, token_id: np.ndarray) -> np.ndarray:
        """Let n-grams take their buckets; which of them have one, as places in `slots`."""
        self._now += 1
        before = self.winner[slots]
        np.minimum.at(self.winner, slots, hashes)
        after = self.winner[slots]
        self._since[slots[after != before]] = self._now
        kept = np.flatnonzero(after == hashes)
        self.token_id[slots[kept]] = token_id[kept]
        return kept

    def _count(self, slots: np.ndarray, domain: np.ndarray, experts: np.ndarray) -> None:
        """Note uses down; experts [L, tokens, k]."""
        layer = np.arange(len(self.layers))[:, None]
        first = (layer * len(self.domains) + domain) * len(self.winner) + slots  # [L, tokens]
        codes = (first[..., None] * self.num_experts + experts).reshape(-1)
        if self._filled + len(codes) > self._pending.shape[1]:
            self._settle()
            room = max(PENDING_USES, len(self.codes), len(codes))
            if room > self._pending.shape[1]:
                self._pending = np.empty((2, room), np.int64)
        here = slice(self._filled, self._filled + len(codes))
        self._pending[0, here], self._pending[1, here] = codes, self._now
        self._filled = here.stop

    def _settle(self) -> None:
        """Sort what is pending into the counts, without the n-grams that have lost their buckets."""
        codes, contest = self._pending[:, : self._filled]
        new = np.sort(codes[self._since[self._slots(codes)] <= contest])
        starts = np.flatnonzero(np.diff(new, prepend=-1))
        kept = self._since[self._slots(self.codes)] <= self._settled
        self.codes, self.counts = _summed(
            np.concatenate([self.codes[kept], new[starts]]),
            np.concatenate([self.counts[kept], np.diff(starts, append=len(new))]),
        )
        self._settled, self._filled = self._now, 0

    def _slots(self, codes: np.ndarray) -> np.ndarray:
        return codes // self.num_experts % len(self.winner) if len(codes) else codes

    def merge(self, other: Self) -> None:
        """Add another's counts; the result is that of one instance that saw both texts, in any order.

        Raises:
            InputError: its layers, domains, contexts, buckets or experts are others.
        """
        if self.shape() != other.shape():
            raise InputError("n-grams: shapes differ; merge shards of one run over the same windows")
        self._settle()
        other._settle()
        winner = np.minimum(self.winner, other.winner)
        codes, counts = zip(*(one._of_winners(winner) for one in (self, other)))
        self.codes, self.counts = _summed(np.concatenate(codes), np.concatenate(counts))
        self.token_id = np.where(self.winner == winner, self.token_id, other.token_id)
        self.winner = winner
        self.uses = self.uses + other.uses

    def _of_winners(self, winner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        kept = (self.winner == winner)[self._slots(self.codes)]
        return self.codes[kept], self.counts[kept]

    def shape(self) -> dict[str, Any]:
        """The arguments that make an empty instance like this one."""
        return {
            "layers": list(self.layers),
            "num_experts": self.num_experts,
            "context_window": self.context_window,
            "buckets": self.buckets,
            "domains": list(self.domains),
        }

    def state(self) -> dict[str, np.ndarray]:
        """The arrays that make it up, by name.

        `codes` and `counts`, int64 [N], of the N used (layer, domain, context, bucket, expert); `winner`, uint64
        [C * B]; `token_id`, int32 [C * B]; `uses`, int64 [D, C].
        """
        self._settle()
        return {name: getattr(self, name) for name in _ARRAYS}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over the arrays of an instance of the same shape; for an empty one. See `NGramCounts.state`."""
        for name in _ARRAYS:
            setattr(self, name, np.ascontiguousarray(state[name]))

    def kept(self) -> np.ndarray:
        """Share of the uses whose n-gram has a bucket, float64 [D, C], the same in every layer; NaN without uses."""
        self._settle()
        of_layer = slice(0, np.searchsorted(self.codes, np.prod(self._axes[1:])))
        _, domain, context, _, _ = np.unravel_index(self.codes[of_layer], self._axes)
        kept = np.zeros_like(self.uses)
        np.add.at(kept, (domain, context), self.counts[of_layer])
        return share(kept, self.uses)

    def table(self) -> pa.Table:
        """One row per (layer, domain, context, n-gram, expert) that was used, in the order of these (by bucket)."""
        self._settle()
        if not len(self.codes):
            return SCHEMA.empty_table()
        layer, domain, context, key, expert = np.unravel_index(self.codes, self._axes)
        columns = [
            np.array(self.layers, np.int16)[layer],
            pa.DictionaryArray.from_arrays(domain.astype(np.int32), list(self.domains)).cast(pa.string()),
            (context + 1).astype(np.int8),
            key.astype(np.int32),
            self.token_id[self._slots(self.codes)],
            expert.astype(np.int16),
            self.counts,
        ]
        return pa.Table.from_arrays([pa.array(one) for one in columns], schema=SCHEMA)


def ngram_hashes(token_id: np.ndarray, context_window: int) -> list[np.ndarray]:
    """For n = 1..`context_window`, a 64-bit hash of each token and the n before it, uint64 [T].

    The first n tokens have fewer before them; their hashes stand for nothing. The hash is a chain of the finaliser of
    SplitMix64 (Steele, Lea and Flood, 2014) over the token itself, the one before it, and so on.
    """
    steps = (token_id.astype(np.uint64) + np.uint64(1)) * _STEP
    state, found = _mix(steps), []
    for back in range(1, context_window + 1):
        earlier = np.zeros_like(steps)
        earlier[back:] = steps[:-back]
        state = _mix(state + earlier)
        found.append(state)
    return found


def bucket(hashes: np.ndarray, buckets: int) -> np.ndarray:
    """The bucket of each hash, int64 [T] in 0..`buckets` - 1, from uint64 [T]."""
    return (hashes % np.uint64(buckets)).astype(np.int64)


def _mix(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(30))) * _FACTORS[0]
    state = (state ^ (state >> np.uint64(27))) * _FACTORS[1]
    return state ^ (state >> np.uint64(31))


def _summed(codes: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct codes in order and the sums of their counts; two runs in order are merged in linear time."""
    order = np.argsort(codes, kind="stable")
    codes = codes[order]
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    return codes[starts], np.add.reduceat(counts[order], starts) if len(starts) else counts
