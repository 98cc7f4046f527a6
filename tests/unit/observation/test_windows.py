"""Windows and batches cut before any sharding."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pyarrow.parquet as pq
import pytest

from reference.tiny import tiny_tokenizer
from switchyard.artifacts.files import read_stamp, write_table
from switchyard.errors import InputError
from switchyard.observation import windows
from switchyard.observation.windows import SCHEMA, Windows, shard_range, write_windows

DOCUMENTS = [
    ("web", "the dog and the cat " * 9),
    ("books", ""),
    ("books", "Pole vault"),
    ("books", "a tree that was one of the first " * 4),
    ("web", "<|endoftext|> they have"),
]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


def write(path, tokenizer, **changes) -> Windows:
    write_windows(path, DOCUMENTS, tokenizer, **{"max_length": 10, "batch_tokens": 24, **changes})
    return Windows(path)


def test_windows_hold_every_token_of_every_document_in_order(tmp_path, tokenizer) -> None:
    write(tmp_path / "windows.parquet", tokenizer)
    rows = pq.read_table(tmp_path / "windows.parquet").to_pylist()
    for number, (domain, text) in enumerate(DOCUMENTS):
        own = [row for row in rows if row["document"] == number]
        assert sum((row["token_ids"] for row in own), []) == tokenizer.encode(text)
        assert {row["domain"] for row in own} <= {domain}
        assert all(len(row["token_ids"]) == 10 for row in own[:-1])
    assert [row["document"] for row in rows] == sorted(row["document"] for row in rows)


def test_batches_are_as_many_consecutive_windows_as_fit(tmp_path, tokenizer) -> None:
    write(tmp_path / "windows.parquet", tokenizer)
    rows = pq.read_table(tmp_path / "windows.parquet").to_pylist()
    batches = [[len(row["token_ids"]) for row in own] for _, own in groupby(rows, lambda row: row["batch"])]
    assert [row["batch"] for row in rows] == [n for n, own in enumerate(batches) for _ in own]
    for own, following in zip(batches, [*batches[1:], None]):
        assert len(own) * max(own) <= 24
        assert following is None or (len(own) + 1) * max(*own, following[0]) > 24


def test_a_window_longer_than_a_batch_is_a_batch(tmp_path, tokenizer) -> None:
    found = write(tmp_path / "windows.parquet", tokenizer, batch_tokens=1)
    assert all(len(batch.lengths) == 1 for batch in found.read(range(found.batches)))


def test_reading_gives_the_batches_back_whatever_the_row_groups(tmp_path, tokenizer, monkeypatch) -> None:
    monkeypatch.setattr(windows, "WINDOWS_PER_GROUP", 3)
    found = write(tmp_path / "windows.parquet", tokenizer)
    file = pq.ParquetFile(tmp_path / "windows.parquet")
    assert file.num_row_groups > 2
    groups = [set(file.read_row_group(i)["batch"].to_pylist()) for i in range(file.num_row_groups)]
    assert sum(len(group) for group in groups) == found.batches
    rows = file.read().to_pylist()
    assert found.domains == ["books", "web"]
    for number, batch in zip(range(1, found.batches), found.read(range(1, found.batches)), strict=True):
        own = [row for row in rows if row["batch"] == number]
        assert batch.lengths.tolist() == [len(row["token_ids"]) for row in own]
        assert batch.token_id.tolist() == sum((row["token_ids"] for row in own), [])
        assert batch.position.tolist() == [p for row in own for p in range(len(row["token_ids"]))]
        assert [found.domains[d] for d in batch.domain] == [r["domain"] for r in own for _ in r["token_ids"]]


def test_padding_is_on_the_right_and_masked(tmp_path, tokenizer) -> None:
    found = write(tmp_path / "windows.parquet", tokenizer)
    for batch in found.read(range(found.batches)):
        ids, real = batch.padded()
        assert ids[real == 1].tolist() == batch.token_id.tolist()
        assert real.sum(1).tolist() == batch.lengths.tolist()
        assert (np.diff(real, axis=1) <= 0).all() and not ids[real == 0].any()
        assert batch.padding == (real == 0).sum()


def test_the_stamp_names_the_special_tokens(tmp_path, tokenizer) -> None:
    found = write(tmp_path / "windows.parquet", tokenizer, stamp={"code": "abc"})
    stamp = read_stamp(tmp_path / "windows.parquet")
    assert found.special_token_ids == stamp["special_token_ids"] == [0, 1]
    assert (stamp["code"], stamp["max_length"], stamp["batch_tokens"]) == ("abc", 10, 24)


@pytest.mark.parametrize("tokens", [1, 10, 47, 10**6])
def test_so_many_tokens_are_the_first_ones(tmp_path, tokenizer, tokens: int) -> None:
    whole, cut = write(tmp_path / "whole", tokenizer), write(tmp_path / "cut", tokenizer, tokens=tokens)
    everything, found = (
        np.concatenate([batch.token_id for batch in one.read(range(one.batches))]) for one in (whole, cut)
    )
    assert found.tolist() == everything[:tokens].tolist()


@pytest.mark.parametrize("batches, shards", [(10, 3), (3, 5), (7, 1), (0, 2)])
def test_shards_are_the_batches_in_order(batches: int, shards: int) -> None:
    ranges = [shard_range(batches, shard, shards) for shard in range(shards)]
    assert [batch for one in ranges for batch in one] == list(range(batches))
    assert max(map(len, ranges)) - min(map(len, ranges)) <= 1


def test_what_cannot_be_used_is_refused(tmp_path, tokenizer) -> None:
    with pytest.raises(InputError, match="no document holds a token"):
        write_windows(tmp_path / "w", [("a", "")], tokenizer, max_length=8, batch_tokens=8)
    with pytest.raises(InputError, match="max_length is 0"):
        write_windows(tmp_path / "w", DOCUMENTS, tokenizer, max_length=0, batch_tokens=8)
    assert not list(tmp_path.iterdir())
    write_table(tmp_path / "w", SCHEMA.empty_table())
    with pytest.raises(InputError, match="names no special tokens"):
        Windows(tmp_path / "w")
    write_table(tmp_path / "w", SCHEMA.empty_table().drop(["domain"]), {"special_token_ids": []})
    with pytest.raises(InputError, match="not a windows file"):
        Windows(tmp_path / "w")
    with pytest.raises(InputError, match="shard 2 does not exist, there are 2"):
        shard_range(4, 2, 2)
