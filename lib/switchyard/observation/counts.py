"""How often each key used each expert, in each domain: the rows of a count table as arrays, for one layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from switchyard.errors import InputError
from switchyard.observation.input_tables import names, need, whole_numbers

_BLOCK = 2**22
"""Entries of a block of dense counts: 32 MiB in int64."""


@dataclass(frozen=True)
class Counts:
    """R rows: domain `domain[r]` used expert `expert[r]` at key `key[r]` `count[r]` times; rows may repeat."""

    domain: np.ndarray  # [R] int64, 0..num_domains - 1
    key: np.ndarray  # [R] int64, 0..num_keys - 1
    expert: np.ndarray  # [R] int64, 0..num_experts - 1
    count: np.ndarray  # [R] int64
    num_domains: int
    num_keys: int
    num_experts: int

    def keyed_by(self, key: np.ndarray, num_keys: int) -> Counts:
        """The same uses under another key [R], 0..num_keys - 1."""
        shape = (self.num_domains, num_keys, self.num_experts)
        return Counts(self.domain, key, self.expert, self.count, *shape)

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Runs of keys with their counts, int64 [domains, keys of the run, experts], every key in one of them."""
        order = np.argsort(self.key, kind="stable")
        ordered = self.key[order]
        step = max(1, _BLOCK // (self.num_domains * self.num_experts))
        for start in range(0, self.num_keys, step):
            run = slice(start, min(start + step, self.num_keys))
            rows = order[slice(*np.searchsorted(ordered, (run.start, run.stop)))]
            yield run, self._dense(rows, run)

    def _dense(self, rows: np.ndarray, run: slice) -> np.ndarray:
        shape = (self.num_domains, run.stop - run.start, self.num_experts)
        flat = np.zeros(np.prod(shape), np.int64)
        place = (self.domain[rows] * shape[1] + self.key[rows] - run.start) * shape[2] + self.expert[rows]
        np.add.at(flat, place, self.count[rows])
        return flat.reshape(shape)


def numbered(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows of `columns` (int64 [R] each) in order, [distinct, columns], and which of them each row is, [R]."""
    spans = [int(column.max(initial=0)) + 1 for column in columns]
    code = np.ravel_multi_index(columns, spans) if len(columns) > 1 else columns[0]
    distinct, number = np.unique(code, return_inverse=True)
    parts = np.unravel_index(distinct, spans)
    return np.stack(parts, axis=1), number


@dataclass(frozen=True)
class CountTable:
    """A count table with its columns checked; zero counts are left out."""

    columns: dict[str, np.ndarray]  # name -> int64 [R]; domains as codes
    domains: list[str]
    num_experts: int
    experts_given: bool
    """False where `num_experts` is the largest expert of the table + 1."""

    @classmethod
    def of(
        cls, table: pa.Table, *, num_experts: int | None, place: str, keys: tuple[str, ...] = ()
    ) -> CountTable:
        """Check `layer, domain, *keys, token_id, expert, count` of `table`.

        Raises:
            InputError: a column is missing, empty cells, negative or broken numbers, no uses, an expert that is none.
        """
        numbers = ("layer", *keys, "token_id", "expert", "count")
        need(table.column_names, ("domain", *numbers), place, "a count table")
        columns = {name: whole_numbers(table, name, place) for name in numbers}
        columns["domain"], domains = names(table, "domain", place)
        used = columns["count"] > 0
        columns = {name: values[used] for name, values in columns.items()}
        if not used.any():
            raise InputError(f"{place}: counts no use of any expert; give a table with counts above 0")
        largest = int(columns["expert"].max())
        if num_experts is not None and largest >= num_experts:
            raise InputError(f"{place}: expert {largest} is not below {num_experts}; raise num_experts")
        return cls(columns, domains, num_experts or largest + 1, num_experts is not None)

    def parts(self, *names: str) -> Iterator[tuple[tuple[int, ...], CountTable]]:
        """The table split by the values of columns `names`, in their order."""
        values, number = numbered(*(self.columns[name] for name in names))
        order = np.argsort(number, kind="stable")
        edges = np.searchsorted(number[order], np.arange(len(values) + 1))
        for place, value in enumerate(values.tolist()):
            rows = order[edges[place] : edges[place + 1]]
            columns = {name: column[rows] for name, column in self.columns.items()}
            yield tuple(value), CountTable(columns, self.domains, self.num_experts, self.experts_given)

    def counts(self, *keys: str) -> tuple[Counts, np.ndarray, list[str]]:
        """Counts by the distinct values of columns `keys`, those values [keys, columns], and the domains that occur."""
        own, domain = np.unique(self.columns["domain"], return_inverse=True)
        values, key = numbered(*(self.columns[name] for name in keys))
        shape = (len(own), len(values), self.num_experts)
        counts = Counts(domain, key, self.columns["expert"], self.columns["count"], *shape)
        return counts, values, [self.domains[one] for one in own]
