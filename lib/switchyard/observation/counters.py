"""What the analyses of routing have in common: counts that add up exactly, and tables that can be true."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from switchyard.errors import InputError
from switchyard.observation.routed_tokens import RoutedTokens

_KINDS = {
    **dict.fromkeys(("choices", "domain"), pa.string()),
    **dict.fromkeys(("layer", "expert", "other"), pa.int16()),
    **dict.fromkeys(("cache_ratio", "size_ratio"), pa.float64()),
    "token_id": pa.int32(),
}


@dataclass(kw_only=True)
class RoutingCounter(ABC):
    """Counts of routed tokens: integers, so that shards merged in any order are the whole exactly.

    A kind of counter is a dataclass of int64 arrays. Those named in `SETTINGS` say what is counted and must be equal
    for two counters to merge; the others are counts.

    Attributes:
        layers: [layers], the model's numbers of the layers.
        num_experts: experts of a layer.
        top_k: experts that a token uses.
        tokens: tokens observed, the same in every layer.
        uses: [layers, experts], tokens that used each expert.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = ("layers", "num_experts", "top_k")

    layers: np.ndarray
    num_experts: np.ndarray
    top_k: np.ndarray
    tokens: np.ndarray
    uses: np.ndarray

    def __post_init__(self) -> None:
        for name, value in self.arrays().items():
            setattr(self, name, np.array(value, np.int64))

    @classmethod
    def empty(cls, layers: Sequence[int], *, num_experts: int, top_k: int, **settings: Any) -> Self:
        """A counter of nothing yet; `settings` are those of its kind.

        Raises:
            InputError: `top_k` is outside 1..`num_experts`.
        """
        if not 1 <= top_k <= num_experts:
            raise InputError(f"{cls.__name__}: top_k is {top_k}, give one of 1..{num_experts}")
        shape = (len(layers), num_experts)
        blank = {"tokens": 0, "uses": np.zeros(shape), **cls._blank(shape, top_k, **settings)}
        return cls(layers=layers, num_experts=num_experts, top_k=top_k, **blank)

    def observe(self, routed: RoutedTokens) -> None:
        """Count a batch in.

        Raises:
            InputError: other layers, experts or top-k than this counter's.
        """
        seen = (len(routed.experts), routed.num_experts, routed.experts.shape[2])
        expected = (len(self.layers), int(self.num_experts), int(self.top_k))
        if seen != expected:
            raise InputError(
                f"{type(self).__name__}: (layers, experts, top-k) of the batch are {seen}, give {expected}"
            )
        self.tokens += routed.experts.shape[1]
        self.uses += routed.uses
        self._count(routed)

    def merge(self, other: Self) -> None:
        """Add another counter's counts.

        Raises:
            InputError: it counts something else.
        """
        own, theirs = self.arrays(), other.arrays()
        for name in self.SETTINGS:
            if type(self) is not type(other) or not np.array_equal(own[name], theirs[name]):
                raise InputError(
                    f"{type(self).__name__}: {name} differs between two shards, observe both alike"
                )
        for name in own.keys() - set(self.SETTINGS):
            own[name] += theirs[name]

    def arrays(self) -> dict[str, np.ndarray]:
        """All fields as int64 arrays, such as `uses` [layers, experts], to be saved; the very arrays, no copies."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """The counter that was saved. See `RoutingCounter.arrays`.

        Raises:
            InputError: an array is missing, or the counts do not add up.
        """
        names = [field.name for field in fields(cls)]
        if missing := [name for name in names if name not in arrays]:
            raise InputError(f"{cls.__name__}: {missing[0]} is missing from the saved state, observe again")
        counter = cls(**{name: arrays[name] for name in names})
        counter.check()
        return counter

    def check(self) -> None:
        """Raise InputError for counts that no routing can have."""
        counts = [value for name, value in self.arrays().items() if name not in self.SETTINGS]
        self._refuse_unless("counts are 0 or more", all((value >= 0).all() for value in counts))
        shape = (len(self.layers), int(self.num_experts))
        self._refuse_unless("uses are of every layer and expert", self.uses.shape == shape)
        self._refuse_unless(
            "no expert is used more often than once a token", (self.uses <= self.tokens).all()
        )
        self._refuse_unless(
            "uses of a layer sum to tokens x k", (self.uses.sum(axis=1) == self.tokens * self.top_k).all()
        )

    def _refuse_unless(self, rule: str, holds: bool | np.bool) -> None:
        if not holds:
            raise InputError(f"{type(self).__name__}: counts break the rule that {rule}, observe again")

    @classmethod
    @abstractmethod
    def _blank(cls, shape: tuple[int, int], top_k: int, **settings: Any) -> dict[str, ArrayLike]:
        """The further fields of this kind of counter before anything is observed; `shape`: layers, experts."""

    @abstractmethod
    def _count(self, routed: RoutedTokens) -> None:
        """Add the counts of a batch that fits."""

    @abstractmethod
    def table(self) -> pa.Table:
        """The results, one row per layer and what else is distinguished."""


def share(part: ArrayLike, whole: ArrayLike) -> np.ndarray:
    """part / whole, float64 [...] of the shape that both broadcast to; NaN where the whole is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)


def result_table(columns: Mapping[str, Any], *, shares: Sequence[str]) -> pa.Table:
    """Columns of equal length as a table; NaN and None become null, what is no share and not in `_KINDS` is int64.

    Raises:
        InputError: a column named in `shares` leaves 0..1.
    """
    for name in shares:
        values = np.asarray(columns[name], float)
        outside = values[(values < -1e-9) | (values > 1 + 1e-9)]
        if outside.size:
            raise InputError(f"{name}: {outside[0]:.17g} is no share, observe again")
    kinds = _KINDS | dict.fromkeys(shares, pa.float64())
    return pa.table(
        {
            name: pa.array(values, kinds.get(name, pa.int64()), from_pandas=True)
            for name, values in columns.items()
        }
    )
