"""A trace gives back exactly what was observed, without padding, whatever the batching."""

from __future__ import annotations

import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from reference.synthetic import UniformNull, padded_rows, random_forward, write_trace
from switchyard.errors import InputError
from switchyard.traces.reader import Trace
from switchyard.traces.writer import TraceWriter

LENGTHS = {(3, 0): 4, (1, 1): 2, (1, 0): 7}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def expected_rows(forward):
    """The obvious version: a Python loop over sequences, layers and positions."""
    rows, layers = forward
    for sample, sequence in sorted({*zip(rows.sample.tolist(), rows.sequence.tolist(), strict=True)}):
        for layer, (logits, decision) in enumerate(layers):
            for at in range(len(rows.token_id)):
                if rows.is_token[at] and (rows.sample[at], rows.sequence[at]) == (sample, sequence):
                    count = int(decision.count[at])
                    yield {
                        "sample_id": sample,
                        "sequence": sequence,
                        "layer": layer,
                        "position": int(rows.position[at]),
                        "token_id": int(rows.token_id[at]),
                        "rejections": None if decision.rejections is None else int(decision.rejections[at]),
                        "count": count,
                        "experts": decision.experts[at, :count].tolist(),
                        "weights": decision.weights[at, :count].tolist(),
                        "router_logits": logits[at].tolist(),
                    }


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize(("experts", "layers"), [(6, 3), (1, 1)])
@pytest.mark.parametrize("tested", [False, True])
def test_rows_are_what_was_observed(tmp_path, left, experts, layers, tested):
    rng = np.random.default_rng(0)
    high = min(4, experts)
    shape = {"experts": experts, "layers": layers, "low": 0, "high": high, "tested": tested, "left": left}
    forwards = [random_forward(lengths, rng, **shape) for lengths in (LENGTHS, {(0, 0): 1})]
    write_trace(tmp_path / "t.parquet", forwards, stamp={"code": "abc"})
    rows = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert rows == [row for forward in forwards for row in expected_rows(forward)]
    trace = Trace(tmp_path / "t.parquet")
    assert trace.rows == layers * 14
    assert trace.stamp == {"num_experts": experts, "num_layers": layers, "code": "abc"}


def test_slices_agree_with_the_table(tmp_path, rng):
    shape = {"experts": 5, "layers": 2, "low": 0, "high": 3, "tested": True}
    write_trace(tmp_path / "t.parquet", [random_forward(LENGTHS, rng, **shape)])
    table = pq.read_table(tmp_path / "t.parquet").to_pylist()
    at = 0
    for one in Trace(tmp_path / "t.parquet").sequences():
        for row in range(len(one)):
            start, stop = one.offsets[row], one.offsets[row + 1]
            assert one.experts[start:stop].tolist() == table[at]["experts"]
            assert one.weights[start:stop].tolist() == table[at]["weights"]
            assert one.router_logits[row].tolist() == table[at]["router_logits"]
            assert (one.count[row], one.rejections[row]) == (table[at]["count"], table[at]["rejections"])
            at += 1
    assert at == len(table)


def test_p_values_use_the_null_of_their_layer(tmp_path, rng):
    shape = {"experts": 5, "layers": 2, "low": 1, "high": 3, "tested": True}
    write_trace(tmp_path / "t.parquet", [random_forward(LENGTHS, rng, **shape)])
    nulls = [UniformNull(-1.0, 1.0), UniformNull(-4.0, 4.0)]
    for rows, p_values in Trace(tmp_path / "t.parquet").p_values(nulls):
        for row in range(len(rows)):
            expected = 1.0 - nulls[rows.layer[row]].cdf_at(rows.router_logits[row].astype(np.float64))
            np.testing.assert_array_equal(p_values[row], expected)


def test_without_logits(tmp_path, rng):
    shape = {"experts": 5, "layers": 2, "low": 1, "high": 3, "tested": True}
    write_trace(tmp_path / "t.parquet", [random_forward(LENGTHS, rng, **shape)], keep_logits=False)
    trace = Trace(tmp_path / "t.parquet")
    assert not trace.has_logits
    assert "router_logits" not in pq.read_schema(tmp_path / "t.parquet").names
    with pytest.raises(InputError, match="keep_logits"):
        next(trace.p_values([UniformNull(0, 1)] * 2))


def test_bfloat16_is_kept_exactly(tmp_path, rng):
    rows, [(logits, decision)] = random_forward(
        LENGTHS, rng, experts=4, layers=1, low=1, high=2, tested=False
    )
    half = torch.from_numpy(logits).bfloat16()
    with TraceWriter(tmp_path / "t.parquet", num_experts=4, num_layers=1) as writer:
        writer.observe(0, half, decision._replace(weights=decision.weights.bfloat16()), rows)
    kept = next(Trace(tmp_path / "t.parquet").forwards())
    assert set(kept.router_logits.reshape(-1).tolist()) <= set(half.float().reshape(-1).tolist())


def test_padding_only_forward_adds_nothing(tmp_path, rng):
    shape = {"experts": 4, "layers": 1, "low": 1, "high": 2, "tested": False}
    padding, layers = random_forward({(9, 0): 3}, rng, **shape)
    padding = padding._replace(is_token=torch.zeros(3, dtype=torch.bool))
    write_trace(tmp_path / "t.parquet", [random_forward(LENGTHS, rng, **shape), (padding, layers)])
    assert Trace(tmp_path / "t.parquet").rows == 13


def test_nothing_is_left_of_a_failed_run(tmp_path, rng):
    with pytest.raises(RuntimeError), TraceWriter(tmp_path / "t.parquet", num_experts=4, num_layers=2):
        raise RuntimeError
    rows = padded_rows({(0, 0): 2}, rng)
    _, [(logits, decision)] = random_forward(
        {(0, 0): 2}, rng, experts=4, layers=1, low=1, high=1, tested=False
    )
    for times, told in ((1, "1 of 2 layers"), (2, "layer 0 came twice")):
        writer = TraceWriter(tmp_path / "t.parquet", num_experts=4, num_layers=2)
        with pytest.raises(InputError, match=told), writer:
            for _ in range(times):
                writer.observe(0, torch.from_numpy(logits), decision, rows)
    assert list(tmp_path.iterdir()) == []


def test_a_forward_is_written_while_the_next_one_comes_and_its_fault_is_told(tmp_path, rng, monkeypatch):
    shape = {"experts": 4, "layers": 1, "low": 1, "high": 2, "tested": False}
    rows, [(logits, decision)] = random_forward(LENGTHS, rng, **shape)
    started, may_go_on = threading.Event(), threading.Event()

    def failing(*arguments):
        started.set()
        assert may_go_on.wait(60)
        raise OSError("no space left")

    monkeypatch.setattr("switchyard.traces.writer._as_table", failing)
    writer = TraceWriter(tmp_path / "t.parquet", num_experts=4, num_layers=1)
    with pytest.raises(OSError, match="no space left"), writer:
        writer.observe(0, torch.from_numpy(logits), decision, rows)
        assert started.wait(60)  # and the caller goes on
        may_go_on.set()
        writer.observe(0, torch.from_numpy(logits), decision, rows)
    with (
        pytest.raises(OSError, match="no space left"),
        TraceWriter(tmp_path / "u.parquet", num_experts=4, num_layers=1) as writer,
    ):
        writer.observe(0, torch.from_numpy(logits), decision, rows)
    assert list(tmp_path.iterdir()) == []


def test_same_observations_same_bytes(tmp_path):
    for name in ("a", "b"):
        rng = np.random.default_rng(5)
        shape = {"experts": 8, "layers": 2, "low": 0, "high": 8, "tested": True}
        write_trace(tmp_path / name, [random_forward(LENGTHS, rng, **shape)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_not_a_trace(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="sample_id is missing"):
        Trace(tmp_path / "x.parquet")
