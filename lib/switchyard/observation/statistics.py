"""Streaming statistics of routing by key (a token id, or any number that stands for one) and layer.

Memory is that of the arrays made at the start, whatever the number of tokens. Means and squared deviations of a batch
are merged into the running ones by the formula of Chan, Golub and LeVeque (1979), for all its keys at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import orjson
import pyarrow as pa
import torch
from torch import Tensor

from switchyard.artifacts.files import atomic
from switchyard.errors import InputError
from switchyard.routing.ranking import rank
from switchyard.traces.json_lists import dumps

MEASURES = ("entropy", "confidence")
"""What has a mean and a deviation, in the order of the first axis of `mean` and `squares`."""

BLOCK_TOKENS = 4096
"""Tokens whose logits are measured at once on a CPU: what is made of them stays in its cache."""

_UNDERFLOW = -1000.0
"""A logit this far below the largest has probability 0 in float32."""
_SHAPE = "shape"
_ARRAYS = ("frequency", "mean", "squares", "low", "high", "uses", "tops", "probability")


class Measured(NamedTuple):
    """What the statistics need of a token's logits, on the host; T tokens."""

    values: np.ndarray  # [2, T] float64: entropy in nats, top probability
    top: np.ndarray  # [T] int64, most probable expert, the lowest index of equals
    used: np.ndarray  # [T, top_k] int64


class RoutingStatistics:
    """Per (layer, key): frequency, entropy, confidence, how often which expert was used or came first, how probable.

    `layers` names the layers that are observed, where they are not the first `num_layers`; L layers, D domains, K keys,
    E experts below. A token id may use an expert at most 2^31 - 1 times in a domain. `normalise` and `scale` are the
    model's convention for weights: divided by their sum or not, then times the scale.

    Memory is 8 L K E (D + 1) bytes: sums of probabilities are 0.41 GB for OLMoE (16 layers, 50,304 ids, 64 experts)
    and 0.07 GB for Mixtral-8x7B (32, 32,000, 8), counts as much for every domain.

    Raises:
        InputError: `top_k` is outside 1..`num_experts`.
    """

    def __init__(
        self,
        num_layers: int,
        num_keys: int,
        num_experts: int,
        *,
        domains: Sequence[str] = ("all",),
        top_k: int,
        layers: Sequence[int] | None = None,
        normalise: bool = False,
        scale: float = 1.0,
    ) -> None:
        if not 1 <= top_k <= num_experts:
            raise InputError(f"routing statistics: top_k is {top_k} of {num_experts} experts; correct it")
        self.layers = tuple(range(num_layers) if layers is None else layers)
        self.domains = tuple(domains)
        self.num_keys, self.num_experts, self.top_k = num_keys, num_experts, top_k
        self.normalise, self.scale = normalise, scale
        size = (len(self.layers), num_keys)
        experts = (len(self.layers), len(self.domains), num_keys, num_experts)
        self.frequency = np.zeros(size, np.int64)
        self.mean = np.zeros((len(MEASURES), *size))  # [2, L, K]
        self.squares = np.zeros((len(MEASURES), *size))  # [2, L, K] sums of squared deviations from the mean
        self.low = np.full(size, np.inf)  # least entropy
        self.high = np.full(size, -np.inf)  # greatest entropy
        self.uses = np.zeros(experts, np.int32)  # [L, D, K, E]
        self.tops = np.zeros(experts, np.int32)  # [L, D, K, E] as the most probable expert
        self.probability = np.zeros((*size, num_experts))  # [L, K, E] sums of the router's probability
        self._place = {layer: place for place, layer in enumerate(self.layers)}

    def update(
        self,
        layer: int,
        keys: np.ndarray | Tensor,
        logits: np.ndarray | Tensor,
        domain: np.ndarray | Tensor | int = 0,
        experts: np.ndarray | Tensor | None = None,
        probabilities: Tensor | None = None,
    ) -> None:
        """Count one batch of a layer.

        Args:
            keys: integers [T] below `num_keys`.
            logits: [T, E] of any float type, on any device; infinite ones are allowed.
            domain: number of the domain, one for all or [T].
            experts: [T, top_k] that the model used; by default those of the largest logits, ties to the lower index.
            probabilities: [T, E] of the router, where they are others than the softmax of the logits.

        Raises:
            InputError: a logit is NaN, or a key or a domain is out of range.
        """
        keys, domain = _host(keys).astype(np.int64, copy=False), _host(domain)
        if not len(keys):
            return
        _check_range("domain", domain, len(self.domains))
        measured = measure(logits, self.top_k, experts, place=f"routing statistics of layer {layer}")
        rows, size, batch = _by_key(keys, measured.values)
        _check_range("key", rows, self.num_keys)
        place = self._place[layer]
        self._merge_moments(place, rows, size, batch)
        self._add_probabilities(place, keys, torch.as_tensor(logits), probabilities)
        np.minimum.at(self.low[place], keys, measured.values[0])
        np.maximum.at(self.high[place], keys, measured.values[0])
        first = (domain.astype(np.int64) * self.num_keys + keys) * self.num_experts
        _add_ones(self.tops[place], first + measured.top)
        _add_ones(self.uses[place], first[:, None] + measured.used)

    def _add_probabilities(
        self, place: int, keys: np.ndarray, logits: Tensor, probabilities: Tensor | None
    ) -> None:
        """Add those of each token to its key, in float64, one token after the other; blocks stay in a CPU's cache."""
        sums = torch.from_numpy(self.probability[place])  # [K, E]
        values = logits if probabilities is None else probabilities
        for key, block in zip(
            torch.from_numpy(keys).split(BLOCK_TOKENS), values.split(BLOCK_TOKENS), strict=True
        ):
            shares = _softmax(block) if probabilities is None else block
            sums.index_add_(0, key, shares.to(sums))

    def _merge_moments(self, place: int, rows: np.ndarray | slice, size: np.ndarray, batch: _Moments) -> None:
        """Chan's formula for some keys of a layer; `size` is the number of tokens behind each row of `batch`."""
        frequency = self.frequency[place]
        before = frequency[rows]
        total = before + size
        share = size / np.maximum(total, 1)
        for number in range(len(MEASURES)):  # indexing one axis is several times faster than a slice and one
            mean, squares = self.mean[number, place], self.squares[number, place]
            delta = batch.mean[number] - mean[rows]
            mean[rows] += delta * share
            squares[rows] += batch.squares[number] + delta * delta * (before * share)
        frequency[rows] = total

    def merge(self, other: Self) -> None:
        """Add what another instance of the same shape has seen.

        Raises:
            InputError: its layers, keys, experts, domains or top_k are others, or a key is too frequent to count.
        """
        if self.shape() != other.shape():
            raise InputError(
                "routing statistics: shapes differ; merge shards of one run over the same windows"
            )
        for place in range(len(self.layers)):
            batch = _Moments(other.mean[:, place], other.squares[:, place])
            self._merge_moments(place, slice(None), other.frequency[place], batch)
        if self.frequency.max(initial=0) > np.iinfo(np.int32).max:
            raise InputError("routing statistics: a key came more than 2^31 - 1 times; observe fewer tokens")
        np.minimum(self.low, other.low, out=self.low)
        np.maximum(self.high, other.high, out=self.high)
        self.uses += other.uses
        self.tops += other.tops
        self.probability += other.probability

    def shape(self) -> dict[str, Any]:
        """The arguments that make an empty instance like this one."""
        return {
            "num_layers": len(self.layers),
            "num_keys": self.num_keys,
            "num_experts": self.num_experts,
            "domains": list(self.domains),
            "top_k": self.top_k,
            "layers": list(self.layers),
            "normalise": self.normalise,
            "scale": self.scale,
        }

    def state(self) -> dict[str, np.ndarray]:
        """The arrays themselves, by name.

        `frequency`, int64 [L, K]; `mean` and `squares` of entropy (nats) and confidence, float64 [2, L, K]; `low` and
        `high` entropy (nats), float64 [L, K]; `uses` and `tops`, int32 [L, D, K, E]; `probability`, float64 [L, K, E].
        """
        return {name: getattr(self, name) for name in _ARRAYS}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over the arrays of an instance of the same shape. See `RoutingStatistics.state`."""
        for name in _ARRAYS:
            setattr(self, name, np.ascontiguousarray(state[name]))

    def save(self, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
        """Write the state as safetensors, atomically, with some metadata of the caller's."""
        from safetensors.numpy import save_file

        with atomic(path) as partial:
            save_file(
                self.state(), partial, {**(metadata or {}), _SHAPE: orjson.dumps(self.shape()).decode()}
            )

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote."""
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            found = cls(**orjson.loads(file.metadata()[_SHAPE]))
            found.restore({name: file.get_tensor(name) for name in _ARRAYS})
        return found

    def table(self, tokens: Callable[[int], str]) -> pa.Table:
        """One row per (layer, key) that was seen; `tokens` gives a key's text.

        Entropies are in nats, deviations those of the population; `routing_consistency` is the share of the most
        frequent top expert, the lowest index of equals. `experts` lists the `top_k` most used ones, the lower index
        first of equals; `weights` their mean router probability by the model's convention.
        """
        place, key = np.nonzero(self.frequency)
        frequency = self.frequency[place, key]
        tops = np.concatenate([self._tops(one)[key[place == one]] for one in range(len(self.layers))])
        experts, weights = self._most_used(place, key)
        mean = self.mean[:, place, key]
        deviation = np.sqrt(self.squares[:, place, key] / frequency)
        names = {one: tokens(one) for one in np.unique(key).tolist()}
        columns = {
            "layer": np.array(self.layers, np.int16)[place],
            "token_id": key.astype(np.int32),
            "token_str": pa.array([names[one] for one in key.tolist()], pa.string()),
            "frequency": frequency,
            "mean_entropy": mean[0],
            "std_entropy": deviation[0],
            "mean_confidence": mean[1],
            "std_confidence": deviation[1],
            "routing_consistency": tops.max(axis=1) / frequency,
            "top_expert": tops.argmax(axis=1).astype(np.int16),
            "min_entropy": self.low[place, key],
            "max_entropy": self.high[place, key],
            "experts": _lists(experts),
            "weights": _lists(weights),
        }
        return pa.table(columns)

    def _most_used(self, place: np.ndarray, key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The most used experts, int16, and their weights, float32, of R (layer, key), both [R, top_k]."""
        experts = np.empty((len(key), self.top_k), np.int16)
        weights = np.empty(experts.shape)
        for one in range(len(self.layers)):
            here, keys = place == one, key[place == one]
            uses = self.uses[one].sum(axis=0, dtype=np.int64)[keys]  # [R, E]
            first = np.argsort(-uses, axis=1, kind="stable")[:, : self.top_k]
            weights[here] = np.take_along_axis(self.probability[one][keys], first, axis=1)
            experts[here] = first
        weights /= self.frequency[place, key][:, None]
        if self.normalise:
            total = weights.sum(axis=1, keepdims=True)
            weights /= np.where(total == 0, 1, total)
        return experts, (weights * self.scale).astype(np.float32)

    def _tops(self, place: int) -> np.ndarray:
        """How often each expert came first for each key of a layer, over all domains, int64 [K, E]."""
        return self.tops[place].sum(axis=0, dtype=np.int64)

    def counts(self) -> pa.Table:
        """One row per (layer, domain, key, expert) that was used (`count`) or came first (`top_count`)."""
        return pa.Table.from_batches(self._count_batches(), schema=COUNTS)

    def _count_batches(self) -> Iterator[pa.RecordBatch]:
        for place, layer in enumerate(self.layers):
            for number, domain in enumerate(self.domains):
                uses, tops = self.uses[place, number], self.tops[place, number]
                key, expert = np.nonzero(uses | tops)
                columns = [
                    np.full(len(key), layer, np.int16),
                    pa.repeat(domain, len(key)),
                    key.astype(np.int32),
                    expert.astype(np.int16),
                    uses[key, expert].astype(np.int64),
                    tops[key, expert].astype(np.int64),
                ]
                yield pa.RecordBatch.from_arrays([pa.array(one) for one in columns], schema=COUNTS)


COUNTS = pa.schema(
    {
        "layer": pa.int16(),
        "domain": pa.string(),
        "token_id": pa.int32(),
        "expert": pa.int16(),
        "count": pa.int64(),
        "top_count": pa.int64(),
    }
)
"""Columns of `RoutingStatistics.counts`."""


class _Moments(NamedTuple):
    """Means and sums of squared deviations of the measures, [2, keys] each."""

    mean: np.ndarray
    squares: np.ndarray


def measure(
    logits: np.ndarray | Tensor,
    top_k: int,
    experts: np.ndarray | Tensor | None = None,
    *,
    place: str = "routing statistics",
) -> Measured:
    """Entropy, confidence, top and used experts of each row of logits [T, E], computed in float32 where they lie.

    Entropy is ln(sum of exp(x)) - sum of p x with x the logits below their largest, so that it is 0 or more, and a
    number, in any precision; infinite logits count as the largest and smallest of their type.

    Raises:
        InputError: a logit is NaN.
    """
    logits = torch.as_tensor(logits)
    blocks = logits.split(BLOCK_TOKENS) if logits.device.type == "cpu" else [logits]
    total, product, top = (torch.cat(parts).cpu().numpy() for parts in zip(*map(_measure, blocks)))
    entropy = np.log(total) - product / total
    values = np.stack([entropy, 1 / total]).astype(np.float64)
    if np.isnan(values[0].sum()):
        raise InputError(f"{place}: router logits are NaN; check the model's weights and its dtype")
    np.minimum(values[0], math.log(logits.shape[1]), out=values[0])
    used = torch.cat([rank(block)[1][:, :top_k] for block in blocks]) if experts is None else experts
    return Measured(values, top.astype(np.int64), _host(used).astype(np.int64, copy=False))


def _measure(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """With x the logits below their largest: sum of exp(x), sum of exp(x) x, and the top expert, float32 [T] each.

    Experts run along the first axis here, so that what runs along the last one is long.
    """
    x = logits.t().float().contiguous()  # [E, T]
    finite = torch.finfo(x.dtype)
    x = x.clamp(finite.min, finite.max)
    x = (x - x.amax(0)).clamp_(min=_UNDERFLOW)
    odds = x.exp()
    total, product = odds.sum(0), odds.mul_(x).sum(0)
    numbers = torch.arange(len(x), dtype=x.dtype, device=x.device)[:, None]
    top = torch.sub(numbers, x.sign_(), alpha=len(x)).amin(0)  # the least number among those with x = 0
    return total, product, top


def _softmax(logits: Tensor) -> Tensor:
    """The softmax of each row, float32; infinite logits count as the largest and smallest of their type."""
    finite = torch.finfo(torch.float32)
    return logits.float().clamp(finite.min, finite.max).softmax(-1)


def _by_key(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, _Moments]:
    """Distinct keys in order, their sizes, and the moments of the columns of `values` [2, T] of each.

    One integer holds a key and its place, so that NumPy's vectorised sort of integers groups them.
    """
    both = (keys << 32) | np.arange(len(keys))
    both.sort()
    rows, values = both >> 32, values.take(both & 0xFFFFFFFF, axis=1)
    starts = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))
    size = np.diff(starts, append=len(rows))
    mean = np.add.reduceat(values, starts, axis=1) / size
    deviation = values - np.repeat(mean, size, axis=1)
    squares = np.add.reduceat(deviation * deviation, starts, axis=1)
    return rows[starts], size, _Moments(mean, squares)


def _lists(values: np.ndarray) -> pa.ListArray:
    """The rows of `values` [R, k] as lists."""
    rows, width = values.shape
    return pa.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32) * width, values.ravel())


def lists_as_json(table: pa.Table) -> pa.Table:
    """The same table for a CSV file, which has no lists: those of numbers, equally long in a column, are JSON text."""
    for place, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            values = table[field.name].combine_chunks().flatten().to_numpy()
            rows = dumps(values.reshape(len(table), -1))[2:-2].decode().split("],[") if len(table) else []
            text = pa.array([f"[{row}]" for row in rows], pa.string())
            table = table.set_column(place, field.name, text)
    return table


def _add_ones(counts: np.ndarray, places: np.ndarray) -> None:
    """Count places of the flattened `counts`; an array of ones takes `add.at`'s fast path, a scalar does not."""
    places = places.reshape(-1)
    np.add.at(counts.reshape(-1), places, np.ones(len(places), counts.dtype))


def _check_range(name: str, numbers: np.ndarray, limit: int) -> None:
    low, high = numbers.min(), numbers.max()
    if low < 0 or high >= limit:
        wrong = low if low < 0 else high
        raise InputError(f"routing statistics: {name} {wrong} is not below {limit}; give the right size")


def _host(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
