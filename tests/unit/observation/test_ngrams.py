"""Counts of hashed n-grams against a dictionary of n-grams."""

from __future__ import annotations

import numpy as np
import pytest

from reference.routing_statistics import ngram_counts
from switchyard.errors import InputError
from switchyard.observation import ngrams
from switchyard.observation.ngrams import NGramCounts, bucket, ngram_hashes

DOMAINS = ("books", "code")
LAYERS, EXPERTS, TOP_K, CONTEXTS = (1, 4), 6, 2, 3

Window = tuple[list[int], int, np.ndarray, list[bool]]


def made_up(number: int, *, vocabulary: int = 7, seed: int = 0) -> list[Window]:
    """Windows of 1 to 30 tokens: ids, domain, experts [layers, tokens, k] and which tokens count."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        size = int(random.integers(1, 31))
        ids = random.integers(0, vocabulary, size)
        experts = random.permuted(np.tile(np.arange(EXPERTS), (len(LAYERS), size, 1)), axis=2)[..., :TOP_K]
        found.append((ids.tolist(), int(random.integers(2)), experts, (ids != 0).tolist()))
    return found


def counted(windows: list[Window], *, buckets: int, at_once: int = 3) -> NGramCounts:
    found = NGramCounts(LAYERS, EXPERTS, context_window=CONTEXTS, buckets=buckets, domains=DOMAINS)
    for start in range(0, len(windows), at_once):
        several = windows[start : start + at_once]
        lengths = [len(ids) for ids, *_ in several]
        found.update(
            np.concatenate([ids for ids, *_ in several]),
            np.concatenate([np.arange(length) for length in lengths]),
            np.repeat([domain for _, domain, *_ in several], lengths),
            np.concatenate([experts for _, _, experts, _ in several], axis=1),
            np.concatenate([counts for *_, counts in several]),
        )
    return found


def expected_rows(windows: list[Window], buckets: int) -> list[tuple]:
    """Rows of the n-grams that have the smallest hash of all in their bucket."""
    counts = ngram_counts(windows, CONTEXTS)
    hashes = {
        ngram: int(ngram_hashes(np.array(ngram), CONTEXTS)[len(ngram) - 2][-1]) for *_, ngram, _ in counts
    }
    keys = {ngram: int(bucket(np.uint64(value), buckets)) for ngram, value in hashes.items()}
    winner: dict[tuple[int, int], tuple[int, ...]] = {}
    for ngram in sorted(hashes, key=hashes.get):
        winner.setdefault((len(ngram), keys[ngram]), ngram)
    return sorted(
        (LAYERS[layer], DOMAINS[domain], context, keys[ngram], ngram[-1], expert, count)
        for (layer, domain, context, ngram, expert), count in counts.items()
        if winner[len(ngram), keys[ngram]] == ngram
    )


def rows(found: NGramCounts) -> list[tuple]:
    return [tuple(row.values()) for row in found.table().to_pylist()]


@pytest.mark.parametrize("buckets", [1, 5, 64, 1000, 2**20])
@pytest.mark.parametrize("pending", [1, 500, 2**22])
def test_counts_are_those_of_a_dictionary(buckets: int, pending: int, monkeypatch) -> None:
    monkeypatch.setattr(ngrams, "PENDING_USES", pending)
    windows = made_up(40)
    assert rows(counted(windows, buckets=buckets)) == expected_rows(windows, buckets)


def test_many_buckets_keep_everything() -> None:
    windows = made_up(40)
    found = counted(windows, buckets=2**22)
    whole = ngram_counts(windows, CONTEXTS)
    assert sum(row[-1] for row in rows(found)) == whole.total()
    assert found.kept() == pytest.approx(np.ones((2, CONTEXTS)))


def test_few_buckets_say_what_share_they_keep() -> None:
    windows = made_up(40)
    found = counted(windows, buckets=9)
    kept = sum(row[-1] for row in rows(found) if row[0] == LAYERS[0] and row[1:3] == ("code", 2))
    all_uses = sum(
        count
        for (layer, domain, context, *_), count in ngram_counts(windows, CONTEXTS).items()
        if (layer, domain, context) == (0, 1, 2)
    )
    assert found.kept()[1, 1] == kept / all_uses < 1


@pytest.mark.parametrize("buckets", [5, 64, 2**20])
def test_order_batches_and_shards_do_not_matter(buckets: int) -> None:
    windows = made_up(50, vocabulary=5)
    whole = counted(windows, buckets=buckets)
    backwards = counted(windows[::-1], buckets=buckets, at_once=50)
    shards = [counted(windows[start::4], buckets=buckets, at_once=1) for start in (2, 0, 3, 1)]
    merged = NGramCounts(LAYERS, EXPERTS, context_window=CONTEXTS, buckets=buckets, domains=DOMAINS)
    for shard in shards:
        again = NGramCounts(**shard.shape())
        again.restore(shard.state())
        merged.merge(again)
    for other in (backwards, merged):
        for name, array in whole.state().items():
            assert np.array_equal(array, other.state()[name]), name


def test_counting_goes_on_after_a_merge_and_a_restore() -> None:
    windows = made_up(30)
    found = counted(windows[:10], buckets=16)
    found.merge(counted(windows[10:20], buckets=16))
    again = NGramCounts(**found.shape())
    again.restore(found.state())
    for ids, domain, experts, counts in windows[20:]:
        size = len(ids)
        again.update(np.array(ids), np.arange(size), np.full(size, domain), experts, np.array(counts))
    assert rows(again) == expected_rows(windows, 16)


def test_memory_is_that_of_the_buckets() -> None:
    random = np.random.default_rng(5)
    found = NGramCounts([0], 4, context_window=1, buckets=32)
    for _ in range(50):
        found.update(
            random.integers(0, 10**6, 500),
            np.arange(500),
            np.zeros(500, int),
            random.integers(0, 4, (1, 500, 1)),
        )
    assert found.table().num_rows <= 32 * 4
    assert found.winner.size == 32


def test_nothing_seen_leaves_no_row() -> None:
    found = NGramCounts([0], 4, context_window=2, buckets=8)
    found.update(np.array([3]), np.array([0]), np.array([0]), np.zeros((1, 1, 1), int))
    assert found.table().num_rows == 0
    assert np.isnan(found.kept()).all()


def test_shapes_that_differ_do_not_merge() -> None:
    with pytest.raises(InputError, match="shapes differ"):
        NGramCounts([0], 4, context_window=2, buckets=8).merge(
            NGramCounts([0], 4, context_window=2, buckets=9)
        )
    with pytest.raises(InputError, match="n-grams: 0 buckets"):
        NGramCounts([0], 4, context_window=2, buckets=0)
