"""Text cut into windows and batches before any of it is shared out, so that shards see the batches of the whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from switchyard.artifacts.files import PARQUET, STAMP_KEY, VERIFIED, atomic, read_stamp, readable, stamped
from switchyard.errors import InputError

DOCUMENTS_AT_ONCE = 256
"""Documents that a tokenizer is given in one call: it works on several in parallel."""

WINDOWS_PER_GROUP = 1024
"""Rows of a row group at least; it ends with the batch that reaches them."""

SCHEMA = pa.schema(
    {
        "batch": pa.int32(),
        "document": pa.int32(),
        "domain": pa.string(),
        "token_ids": pa.list_(pa.int32()),
    }
)
"""Columns of `windows.parquet`: one row per window, in the order of the corpus."""

Window = tuple[int, str, list[int]]  # document, domain, token ids
Row = tuple[int, int, str, list[int]]  # with the batch before them


class Batch(NamedTuple):
    """Windows that are fed together; T tokens, padding left out."""

    lengths: np.ndarray  # [windows] int64
    token_id: np.ndarray  # [T] int64, window after window
    domain: np.ndarray  # [T] int64, number of the domain

    @property
    def position(self) -> np.ndarray:
        """Place of each token in its window, int64 [T]."""
        starts = np.cumsum(self.lengths) - self.lengths
        return np.arange(len(self.token_id)) - np.repeat(starts, self.lengths)

    @property
    def padding(self) -> int:
        """Places that hold no token."""
        return len(self.lengths) * int(self.lengths.max()) - len(self.token_id)

    def padded(self) -> tuple[np.ndarray, np.ndarray]:
        """Token ids, 0 in padding, and whether a token is real; both int64 [windows, longest], padded on the right."""
        real = np.arange(self.lengths.max()) < self.lengths[:, None]
        ids = np.zeros(real.shape, np.int64)
        ids[real] = self.token_id
        return ids, real.astype(np.int64)


def write_windows(
    path: str | Path,
    documents: Iterable[tuple[str, str]],
    tokenizer: Any,
    *,
    max_length: int,
    batch_tokens: int,
    tokens: int | None = None,
    stamp: Mapping[str, Any] | None = None,
) -> None:
    """Tokenise documents, cut them and write `windows.parquet`, holding no more than a row group.

    Args:
        path: the file, written atomically; its stamp names the special token ids beside `stamp`.
        documents: (domain, text) in the order of the corpus; a document without a token leaves no window.
        tokenizer: a Hugging Face tokenizer; what tokens it adds to a text of its own are kept.
        max_length: most tokens of a window; the last one of a document is what is left.
        batch_tokens: most places of a batch, padding included, except where a single window is longer.
        tokens: most tokens in all, from the first document on; the last window is cut. None for the whole corpus.

    Raises:
        InputError: a length below 1, or no document with a token.
    """
    for name, least in (("max_length", max_length), ("batch_tokens", batch_tokens), ("tokens", tokens)):
        if least is not None and least < 1:
            raise InputError(f"windows: {name} is {least}; give at least 1")
    own = {
        "special_token_ids": sorted(tokenizer.all_special_ids),
        "max_length": max_length,
        "batch_tokens": batch_tokens,
    }
    schema = stamped(SCHEMA.empty_table(), {**(stamp or {}), **own}).schema
    rows = _batched(_first(_cut(documents, tokenizer, max_length), tokens), batch_tokens)
    with atomic(path) as partial, pq.ParquetWriter(partial, schema, **PARQUET) as writer:
        for group in _groups(rows):
            columns = [pa.array(column, kind) for column, kind in zip(zip(*group), SCHEMA.types)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=len(group))


def _cut(documents: Iterable[tuple[str, str]], tokenizer: Any, max_length: int) -> Iterator[Window]:
    """Every window of the documents, in order."""
    documents, number = iter(documents), 0
    while several := list(islice(documents, DOCUMENTS_AT_ONCE)):
        encoded = tokenizer([text for _, text in several], return_attention_mask=False, verbose=False)
        for (domain, _), ids in zip(several, encoded["input_ids"]):
            for start in range(0, len(ids), max_length):
                yield number, domain, ids[start : start + max_length]
            number += 1


def _first(windows: Iterable[Window], tokens: int | None) -> Iterator[Window]:
    """The windows that together hold `tokens` tokens, the last one cut."""
    left = tokens
    for document, domain, ids in windows:
        yield document, domain, ids[:left]
        if left is not None:
            left -= len(ids)
            if left <= 0:
                return


def _batched(windows: Iterable[Window], batch_tokens: int) -> Iterator[Row]:
    """The windows with the numbers of their batches: as many consecutive ones as fit."""
    batch, rows, longest = 0, 0, 0
    for document, domain, ids in windows:
        longest = max(longest, len(ids))
        if rows and (rows + 1) * longest > batch_tokens:
            batch, rows, longest = batch + 1, 0, len(ids)
        rows += 1
        yield batch, document, domain, ids


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Runs of at least `WINDOWS_PER_GROUP` rows, except the last, that end with a batch."""
    group: list[Row] = []
    for row in rows:
        if len(group) >= WINDOWS_PER_GROUP and row[0] != group[-1][0]:
            yield group
            group = []
        group.append(row)
    if not group:
        raise InputError("windows: no document holds a token; check the corpus")
    yield group


def shard_range(batches: int, shard: int, shards: int) -> range:
    """The batches of shard `shard` of `shards`, counted from 0: contiguous, sizes differ by one at most.

    Raises:
        InputError: `shard` is outside 0..`shards` - 1.
    """
    if not 0 <= shard < shards:
        raise InputError(f"shard {shard} does not exist, there are {shards}; count from 0")
    return range(shard * batches // shards, (shard + 1) * batches // shards)


class Windows:
    """A windows file. Opening it reads its stamp and two columns: the batches and the domains.

    Raises:
        InputError: the file is damaged, has other columns, or its stamp names no special tokens.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with readable(self.path):
            self._file = pq.ParquetFile(self.path, **VERIFIED)
        if self._file.schema_arrow.names != SCHEMA.names:
            raise InputError(
                f"{self.path}: not a windows file; its columns must be {', '.join(SCHEMA.names)}"
            )
        stamp = read_stamp(self.path)
        if "special_token_ids" not in stamp:
            raise InputError(
                f"{self.path}: its stamp ({STAMP_KEY.decode()}) names no special tokens; write it again"
            )
        self.special_token_ids: list[int] = stamp["special_token_ids"]
        with readable(self.path):
            table = self._file.read(["batch", "domain"])
        self._batch = table["batch"].to_numpy()
        self.batches = int(self._batch[-1]) + 1
        self.domains: list[str] = sorted(table["domain"].unique().to_pylist())

    @property
    def tokens(self) -> int:
        """Tokens of all windows, special ones included."""
        groups, ids = range(self._file.num_row_groups), SCHEMA.names.index("token_ids")
        return sum(self._file.metadata.row_group(group).column(ids).num_values for group in groups)

    def read(self, batches: range) -> Iterator[Batch]:
        """The batches of a range in their order, a row group in memory at a time."""
        ends = np.cumsum(
            [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
        )
        edges = np.searchsorted(self._batch, np.arange(self.batches + 1))
        opened, table = -1, None
        for batch in batches:
            start, stop = edges[batch], edges[batch + 1]
            group = int(np.searchsorted(ends, start, side="right"))
            if group != opened:
                with readable(self.path):
                    opened, table = group, self._file.read_row_group(group, ["domain", "token_ids"])
            first = int(ends[group] - table.num_rows)
            yield self._as_batch(table.slice(start - first, stop - start))

    def _as_batch(self, table: pa.Table) -> Batch:
        lists = table["token_ids"].combine_chunks()
        lengths = np.diff(lists.offsets.to_numpy()).astype(np.int64)
        domain = np.array([self.domains.index(name) for name in table["domain"].to_pylist()], np.int64)
        return Batch(lengths, lists.flatten().to_numpy().astype(np.int64), np.repeat(domain, lengths))
