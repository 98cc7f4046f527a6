"""Router logits on disk: what is written is read, bit for bit, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from switchyard.artifacts.files import read_stamp
from switchyard.routing.logit_table import read_logits, write_logits


def layers(number: int, tokens: int, experts: int) -> list[np.ndarray]:
    rng = np.random.default_rng(tokens)
    return [rng.normal(size=(tokens, experts)).astype(np.float32) for _ in range(number)]


@pytest.mark.parametrize(("number", "tokens", "experts"), [(1, 1, 1), (3, 7, 4), (2, 1000, 64), (2, 1, 8)])
def test_logits_come_back_bit_for_bit(tmp_path: Path, number: int, tokens: int, experts: int) -> None:
    own = layers(number, tokens, experts)
    write_logits(tmp_path / "logits.parquet", own, {})
    found = list(read_logits(tmp_path / "logits.parquet"))
    assert len(found) == number
    assert all(a.dtype == np.float32 and np.array_equal(a, b) for a, b in zip(found, own))


def test_extreme_values_come_back(tmp_path: Path) -> None:
    own = [np.array([[np.inf, -np.inf, np.finfo(np.float32).max, 1e-45, -0.0]], np.float32)]
    write_logits(tmp_path / "logits.parquet", own, {})
    assert next(read_logits(tmp_path / "logits.parquet")).tobytes() == own[0].tobytes()


def test_layers_may_differ_in_tokens(tmp_path: Path) -> None:
    own = layers(1, 3, 4) + layers(1, 9, 4)
    write_logits(tmp_path / "logits.parquet", own, {})
    assert [len(part) for part in read_logits(tmp_path / "logits.parquet")] == [3, 9]


def test_the_file_says_which_layer_and_who_made_it(tmp_path: Path) -> None:
    write_logits(tmp_path / "logits.parquet", layers(2, 3, 4), {"code": "abc"})
    assert pq.read_table(tmp_path / "logits.parquet")["layer"].to_pylist() == [0, 0, 0, 1, 1, 1]
    assert read_stamp(tmp_path / "logits.parquet") == {"code": "abc"}


def test_two_writings_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_logits(tmp_path / name, layers(2, 50, 8), {"code": "abc"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield layers(1, 3, 4)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_logits(tmp_path / "logits.parquet", broken(), {})
    assert list(tmp_path.iterdir()) == []
