"""What is measured on logits equals the obvious, whatever is read at once and by however many threads."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reference.metrics import chosen_in_trained, routing_entropies, tied_at_last_rank
from reference.synthetic import padded_rows, route, write_trace
from reference.synthetic_study import read
from switchyard.warehouse import logits


@pytest.mark.parametrize(
    ("read_at_once", "cached", "threads"), [(8192, 512, 2), (5, 2, 1), (4, 3, 4), (1, 1, 3)]
)
@pytest.mark.parametrize("shape", [{"min_k": 0}, {"num_experts": 1, "k_or_max_k": 1, "trained_top_k": 1}])
def test_every_row_of_a_trace(study, monkeypatch, shape, read_at_once, cached, threads):
    monkeypatch.setattr(logits, "ROWS_READ", read_at_once)
    monkeypatch.setattr(logits, "ROWS_CACHED", cached)
    monkeypatch.setattr(logits, "THREADS", threads)
    head = study.add("4experts_bh_a030", **shape)
    found = logits.measured(head["trace"], head["trained_top_k"]).read_all().to_pydict()
    trace = read(head).trace
    assert found["layer"] == [row["layer"] for row in trace]
    assert found["count"] == [row["count"] for row in trace]
    assert found["shared"] == chosen_in_trained(head["trained_top_k"], trace)
    assert found["tied"] == tied_at_last_rank(head["trained_top_k"], trace)
    np.testing.assert_allclose(found["nats"], routing_entropies(trace), rtol=1e-12, atol=1e-15)


def test_the_database_does_not_depend_on_blocks_and_threads(study, monkeypatch):
    study.add("4experts_bh_a030")
    tables = ("FROM routing_entropy", "FROM trained_overlaps")
    usual = [study.build().query(table) for table in tables]
    monkeypatch.setattr(logits, "ROWS_READ", 3)
    monkeypatch.setattr(logits, "ROWS_CACHED", 2)
    monkeypatch.setattr(logits, "THREADS", 1)
    assert [study.build().query(table) for table in tables] == usual


def test_ties_with_the_kth_logit_count(tmp_path):
    rng = np.random.default_rng(0)
    rows = padded_rows({(0, 0): 7}, rng)
    tied = rng.integers(0, 2, (7, 6)).astype(np.float32)
    write_trace(tmp_path / "trace.parquet", [(rows, [(tied, route(tied, np.arange(7)))])])
    found = logits.measured(tmp_path / "trace.parquet", 2).read_all()
    assert found["shared"].to_pylist() == [0, 1, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("trained_top_k", range(1, 7))
def test_ties_at_the_last_rank(tmp_path, trained_top_k):
    rng = np.random.default_rng(1)
    rows = padded_rows({(0, 0): 40}, rng)
    coarse = rng.integers(0, 4, (40, 6)).astype(np.float32)
    coarse[0], coarse[1] = 0.0, [0.0, -0.0, 1.0, 2.0, 3.0, 4.0]  # all tied; zeros of both signs are equal
    write_trace(tmp_path / "trace.parquet", [(rows, [(coarse, route(coarse, np.full(40, 2)))])])
    found = logits.measured(tmp_path / "trace.parquet", trained_top_k).read_all()["tied"].to_pylist()
    trace = pq.read_table(tmp_path / "trace.parquet").to_pylist()
    assert found == tied_at_last_rank(trained_top_k, trace)
    assert any(found) == (trained_top_k < 6) and not all(found)


def test_logits_far_apart_have_no_entropy_and_equal_ones_have_all():
    extremes = np.array([[-3e38, 0.0, 3e38], [-1e3, 0.0, 1e3], [5.0, 5.0, 5.0]], np.float32)
    np.testing.assert_allclose(logits.entropies(extremes), [0.0, 0.0, np.log(3)], rtol=1e-15)


def test_an_expert_outside_the_model_breaks_nothing():
    marked = np.array([[True, False], [False, True]])
    experts = pa.array([[0, 77], [0, 1]], pa.list_(pa.int16()))
    assert logits.chosen_among(marked, experts).tolist() == [2, 1]


def test_rows_cut_out_of_a_column_keep_their_experts():
    marked = np.array([[True, False], [False, True]])
    experts = pa.array([[0, 1, 1], [], [0, 1]], pa.list_(pa.int16()))
    assert logits.chosen_among(marked, experts[1:]).tolist() == [0, 1]
