"""Observation of a model in shards, cut short and whole."""

from __future__ import annotations

import logging
from functools import partial

import numpy as np
import pytest
import torch

from reference.moe_models import random_model
from reference.routing_statistics import LoopStatistics, ngram_counts, routed
from reference.tiny import tiny_model, tiny_tokenizer
from switchyard.errors import InputError
from switchyard.observation.coactivation import Coactivation
from switchyard.observation.run import observe_shard
from switchyard.observation.segments import SegmentUses
from switchyard.observation.shards import Observation, merge_shards
from switchyard.observation.windows import Windows, write_windows
from switchyard.routing.attachment import attach

WORDS = [
    "the",
    "of",
    "and",
    "a",
    "in",
    "to",
    "that",
    "dog",
    "cat",
    "tree",
    "Pole",
    "vault",
    "<|endoftext|>",
    "house",
    "reads",
    "writes",
]
TALLIES = {"coactivation": Coactivation.empty, "segments": partial(SegmentUses.empty, segment_lengths=(2, 5))}
SETTINGS = {"model_digest": "tiny", "context_window": 2, "buckets": 64, "counters": TALLIES}


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def windows_path(tmp_path_factory):
    random = np.random.default_rng(0)
    documents = [
        (("books", "web")[number % 2], " ".join(random.choice(WORDS, random.integers(1, 60))))
        for number in range(24)
    ]
    path = tmp_path_factory.mktemp("windows") / "windows.parquet"
    write_windows(path, documents, tiny_tokenizer(), max_length=16, batch_tokens=64)
    return path


@pytest.fixture(scope="module")
def whole(model, windows_path, tmp_path_factory) -> Observation:
    out = tmp_path_factory.mktemp("whole") / "0.safetensors"
    observe_shard(model, windows_path, 0, 1, out, **SETTINGS)
    return merge_shards([out], counters=TALLIES)


def assert_equal(found: Observation, expected: Observation, *, exactly: bool = False) -> None:
    """Integers exactly, floats to 1e-9 relative or 1e-12 absolute."""
    for name, array in expected.statistics.state().items():
        own = found.statistics.state()[name]
        if array.dtype.kind == "f" and not exactly:
            np.testing.assert_allclose(own, array, rtol=1e-9, atol=1e-12)
        else:
            np.testing.assert_array_equal(own, array)
    for name, array in expected.ngrams.state().items():
        np.testing.assert_array_equal(found.ngrams.state()[name], array)
    for kind, counter in expected.counters.items():
        for name, array in counter.arrays().items():
            np.testing.assert_array_equal(found.counters[kind].arrays()[name], array)
    assert found.totals == expected.totals


@torch.inference_mode()
def test_what_is_counted_is_what_the_model_does(model, windows_path, whole) -> None:
    """Window by window, without padding, in loops."""
    windows, loop, fed = Windows(windows_path), LoopStatistics(2), []
    special = pairs = 0
    for batch in windows.read(range(windows.batches)):
        ends = np.cumsum(batch.lengths)
        for ids, domain in zip(
            np.split(batch.token_id, ends[:-1]), np.split(batch.domain, ends[:-1]), strict=True
        ):
            layers = []
            with attach(model, None, observer=lambda *seen: layers.append(seen)):  # noqa: B023
                model.base_model(input_ids=torch.from_numpy(ids)[None])
            counts = ids > 1
            special += int((~counts).sum())
            pairs += int((counts[:-1] & counts[1:]).sum())
            for layer, logits, selection, _ in layers:
                for place in np.flatnonzero(counts):
                    token = routed(logits[place], 2)._replace(used=selection.experts[place].tolist())
                    loop.add(layer, int(ids[place]), token, int(domain[place]))
            experts = [selection.experts.tolist() for _, _, selection, _ in layers]
            fed.append((ids.tolist(), int(domain[0]), experts, counts.tolist()))

    rows = whole.statistics.table(lambda key: f"<{key}>").to_pylist()
    for row, expected in zip(rows, loop.rows(), strict=True):
        assert row.pop("token_str") == expected.pop("token_str")
        assert row.pop("experts") == expected.pop("experts")
        assert row.pop("weights") == pytest.approx(expected.pop("weights"), rel=1e-4, abs=1e-6)
        assert row == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert whole.statistics.counts().to_pylist() == loop.counts(windows.domains)
    everything = ngram_counts(fed, 2)
    assert whole.ngrams.uses.sum() * 2 == everything.total()
    assert 0 < whole.ngrams.counts.sum() < everything.total()
    tokens = sum(sum(counts) for *_, counts in fed)
    assert whole.totals["tokens"] == tokens and whole.totals["special"] == special > 0
    assert whole.totals["padding"] == sum(b.padding for b in windows.read(range(windows.batches))) > 0
    assert whole.counters["coactivation"].tokens == tokens
    assert whole.counters["segments"].histogram[0].sum() == pairs * 2 * 8


@pytest.mark.parametrize("shards", [2, 3, 100])
def test_shards_are_the_whole(model, windows_path, whole, tmp_path, shards: int) -> None:
    paths = [tmp_path / f"{shard}.safetensors" for shard in range(shards)]
    for shard in reversed(range(shards)):
        observe_shard(model, windows_path, shard, shards, paths[shard], **SETTINGS)
    assert_equal(merge_shards(paths[::-1], counters=TALLIES), whole)


class Killed(Exception):
    """What ends a run from outside."""


def cut_short(model, windows_path, out, *, tokens: int, **changes) -> None:
    """Observe until `tokens` tokens are counted, then die."""

    def progress(number: int) -> None:
        nonlocal tokens
        tokens -= number
        if tokens <= 0:
            raise Killed

    with pytest.raises(Killed):
        observe_shard(
            model, windows_path, 0, 1, out, checkpoint_every=100, progress=progress, **{**SETTINGS, **changes}
        )


def checkpoints(out) -> list:
    return sorted(out.parent.glob("*checkpoint*"))


def test_a_run_that_is_killed_again_and_again_is_the_uninterrupted_one(
    model, windows_path, whole, tmp_path
) -> None:
    out = tmp_path / "0.safetensors"
    for tokens in (250, 401, 600):
        cut_short(model, windows_path, out, tokens=tokens)
        assert not out.exists() and 1 <= len(checkpoints(out)) <= 2
    resumed: list[int] = []
    observe_shard(model, windows_path, 0, 1, out, progress=resumed.append, **SETTINGS)
    assert resumed[0] >= 400 and sum(resumed) == whole.totals["tokens"]
    assert [path.name for path in tmp_path.iterdir()] == ["0.safetensors"]
    assert_equal(merge_shards([out], counters=TALLIES), whole, exactly=True)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    model, windows_path, whole, tmp_path, caplog
) -> None:
    out = tmp_path / "0.safetensors"
    cut_short(model, windows_path, out, tokens=500)
    older, newest = checkpoints(out)
    newest.write_bytes(newest.read_bytes()[:-9])
    resumed: list[int] = []
    with caplog.at_level(logging.WARNING):
        observe_shard(model, windows_path, 0, 1, out, progress=resumed.append, **SETTINGS)
    assert 0 < resumed[0] < 500 and newest.name in caplog.text and older.name not in caplog.text
    assert_equal(merge_shards([out], counters=TALLIES), whole, exactly=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_digest": "another"},
        {"buckets": 32},
        {"layers": [1]},
        {"stamp": {"code": "another"}},
        {"counters": {"coactivation": Coactivation.empty}},
        {"counters": TALLIES | {"segments": partial(SegmentUses.empty, segment_lengths=(3,))}},
    ],
)
def test_a_checkpoint_of_other_inputs_is_not_resumed(
    model, windows_path, whole, tmp_path, caplog, changes
) -> None:
    out = tmp_path / "0.safetensors"
    cut_short(model, windows_path, out, tokens=300, **changes)
    resumed: list[int] = []
    with caplog.at_level(logging.WARNING):
        observe_shard(model, windows_path, 0, 1, out, progress=resumed.append, **SETTINGS)
    assert resumed[0] == 0 and len(caplog.messages) == 2
    assert_equal(merge_shards([out], counters=TALLIES), whole, exactly=True)
    assert not checkpoints(out)


def test_some_layers_are_as_among_all(model, windows_path, whole, tmp_path) -> None:
    observe_shard(model, windows_path, 0, 1, tmp_path / "0", **{**SETTINGS, "layers": [1]})
    found = merge_shards([tmp_path / "0"], counters=TALLIES)
    assert found.statistics.layers == (1,)
    np.testing.assert_array_equal(found.statistics.mean[:, 0], whole.statistics.mean[:, 1])
    np.testing.assert_array_equal(found.statistics.uses[0], whole.statistics.uses[1])


def test_no_context_and_no_counter_will_do(model, windows_path, whole, tmp_path) -> None:
    plain = {"model_digest": "tiny", "context_window": 0}
    observe_shard(model, windows_path, 0, 1, tmp_path / "0", **plain)
    found = merge_shards([tmp_path / "0"])
    np.testing.assert_array_equal(found.statistics.tops, whole.statistics.tops)
    assert found.ngrams.table().num_rows == 0


def test_shards_that_do_not_belong_together_are_refused(model, windows_path, tmp_path) -> None:
    paths = [tmp_path / "0", tmp_path / "1", tmp_path / "other", tmp_path / "damaged"]
    for shard, path in enumerate(paths[:2]):
        observe_shard(model, windows_path, shard, 2, path, **SETTINGS)
    observe_shard(model, windows_path, 1, 2, paths[2], **{**SETTINGS, "model_digest": "another"})
    paths[3].write_bytes(paths[1].read_bytes()[:-1])
    for given, message in [
        (paths[:1], "found 0 of 0..1"),
        ([paths[0], *paths[:2]], "found 0, 0, 1 of 0..1"),
        ([paths[0], paths[2]], "of other windows, model or settings"),
        ([paths[0], paths[3]], "not a whole shard"),
        ([], "found none"),
    ]:
        with pytest.raises(InputError, match=message):
            merge_shards(given, counters=TALLIES)


def test_what_cannot_be_observed_is_refused(model, windows_path, tmp_path) -> None:
    with pytest.raises(InputError, match="layer 2 does not exist, the model has 2"):
        observe_shard(model, windows_path, 0, 1, tmp_path / "0", **{**SETTINGS, "layers": [0, 2]})
    with pytest.raises(InputError, match="name one or more"):
        observe_shard(model, windows_path, 0, 1, tmp_path / "0", **{**SETTINGS, "layers": []})
    with pytest.raises(InputError, match="not below the model's 96"):
        observe_shard(random_model("mixtral"), windows_path, 0, 1, tmp_path / "0", **SETTINGS)
    assert not list(tmp_path.iterdir())
