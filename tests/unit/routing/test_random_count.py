"""Random counts: the draw decides how many, the logits which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from reference import routing_rules as reference
from reference.draws import draw
from reference.router_logits import router_logits, token_context
from switchyard.errors import InputError
from switchyard.routing import RandomCount
from switchyard.routing.random_count import read_counts


@given(data=st.data(), sample=st.integers(0, 100))
def test_equals_the_naive_reference(data: st.DataObject, sample: int) -> None:
    logits = data.draw(router_logits())
    num_experts = logits.shape[-1]
    weights = st.lists(st.integers(0, 9), min_size=1, max_size=num_experts + 1).filter(any)
    counts = data.draw(st.lists(weights, min_size=1, max_size=3))
    rule = RandomCount(counts)
    most = max(number for one in counts for number, weight in enumerate(one) if weight)
    assert rule.limits[1] == most
    for layer, one in enumerate(counts):
        selection = rule.select(logits, layer, token_context(len(logits), sample=sample))
        for token, row in enumerate(logits.double().tolist()):
            number = reference.random_count(one, draw(sample, layer, token, "random_count"))
            experts = reference.choose(row, number, 0, num_experts)
            assert selection.count[token].item() == number
            assert selection.experts[token].tolist() == experts + [num_experts] * (max(most, 1) - number)


def test_draws_from_the_layers_own_distribution() -> None:
    counts = ((0, 5, 0, 3, 2), (1, 1, 1, 0, 0))
    rule, context = RandomCount(counts), token_context(20_000)
    for layer, weights in enumerate(counts):
        drawn = rule.select(torch.zeros(20_000, 8), layer, context).count
        seen = torch.bincount(drawn, minlength=5).numpy()
        expected = np.array(weights) / sum(weights) * 20_000
        assert (seen[expected == 0] == 0).all()
        assert chisquare(seen[expected > 0], expected[expected > 0]).pvalue > 1e-3
    assert rule.limits == (0, 4)


def test_a_draw_on_the_edge_is_the_next_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = [0.0, np.nextafter(0.5, 0.0), 0.5, np.nextafter(1.0, 0.0)]
    drawn = torch.tensor(edge, dtype=torch.float64)
    monkeypatch.setattr("switchyard.routing.random_count.token_draws", lambda *_, **__: drawn)
    assert RandomCount([(0, 3, 0, 3, 0)]).select(torch.zeros(4, 8), 0).count.tolist() == [1, 1, 3, 3]


def test_one_count_is_no_chance() -> None:
    logits = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    rule = RandomCount([(0, 0, 0, 7)])
    selection = rule.select(logits, 0, token_context(50))
    assert rule.limits == (3, 3)
    assert torch.equal(selection.experts, logits.sort(dim=-1, descending=True).indices[:, :3])


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((), "counts are missing"),
        (((1, 2), ()), "layer 1 must be whole"),
        (((0, 0),), "layer 0 must be whole"),
        (((1, -1),), "layer 0 must be whole"),
        (((1, 0.5),), "layer 0 must be whole"),
    ],
)
def test_refuses_counts(counts: tuple, words: str) -> None:
    with pytest.raises(InputError, match=words):
        RandomCount(counts)


def test_refuses() -> None:
    with pytest.raises(InputError, match="loud"):
        RandomCount([(1, 1)], "loud")
    with pytest.raises(InputError, match="no counts for layer 1"):
        RandomCount([(1, 1)]).select(torch.zeros(1, 8), 1, token_context(1))
    with pytest.raises(InputError, match="counts go to 3 but layer 0 has 2 experts"):
        RandomCount([(1, 1, 1, 1)]).select(torch.zeros(1, 2), 0, token_context(1))
    with pytest.raises(InputError, match="random_count: draws by sample and position"):
        RandomCount([(1, 1)]).select(torch.zeros(1, 8), 0)


def test_is_made_from_a_study(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    layers, counts = generator.integers(0, 3, 500), generator.integers(2, 7, 500)
    paths = [tmp_path / f"{number}.parquet" for number in range(2)]
    for path, part in zip(paths, np.split(np.arange(500), [123]), strict=True):
        columns = {"layer": pa.array(layers[part], pa.int16()), "count": pa.array(counts[part], pa.int16())}
        pq.write_table(pa.table(columns), path)
    expected = [[int(((layers == n) & (counts == c)).sum()) for c in range(7)] for n in range(3)]
    settings = {"matched": "16experts_bh_a030", "weighting": "sum_to_one"}
    rule = RandomCount.from_study(settings, {"matched": paths})
    assert [list(one) for one in rule.counts] == expected
    assert (rule.limits, rule.weighting) == ((2, 6), "sum_to_one")
    pq.write_table(pa.table({name: pa.array([], pa.int16()) for name in ("layer", "count")}), paths[0])
    with pytest.raises(InputError, match="no row"):
        read_counts(paths[:1])
