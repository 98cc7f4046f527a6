"""A fractional k: whole ones are TopK bit for bit, and every token is routed by one of two TopKs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.draws import draw
from reference.router_logits import router_logits, token_context
from switchyard.errors import InputError
from switchyard.routing import MixedTopK, TopK
from switchyard.routing.mixed_topk import mean_count

KNOWN = {"trained_top_k": 2, "normalise": False}


@given(data=st.data(), layer=st.integers(0, 20), sample=st.integers(0, 100))
def test_each_token_is_that_of_the_topk_drawn(data: st.DataObject, layer: int, sample: int) -> None:
    logits = data.draw(router_logits())
    num_experts = logits.shape[-1]
    k = data.draw(st.one_of(st.floats(0, num_experts), st.integers(0, num_experts).map(float)))
    context = token_context(len(logits), sample=sample)
    selection = MixedTopK(k, **KNOWN).select(logits, layer, context)
    slots = selection.experts.shape[-1]
    assert slots == max(1, int(np.ceil(k)))
    for token in range(len(logits)):
        number = int(k) + (draw(sample, layer, token, "mixed_topk") < k - int(k))
        assert selection.count[token].item() == number
        empty = slots - number
        assert (selection.experts[token, number:] == num_experts).all()
        assert selection.weights[token, number:].tolist() == [0.0] * empty
        if number:
            static = TopK(number, **KNOWN).select(logits, layer)
            assert torch.equal(selection.experts[token, :number], static.experts[token])
            assert torch.equal(selection.weights[token, :number], static.weights[token])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weighting", ["model", "sum_to_one", "trained_mass"])
def test_a_whole_k_is_topk(weighting: str, dtype: torch.dtype) -> None:
    logits = torch.randn(200, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    for k in (1, 4, 16):
        mixed = MixedTopK(float(k), weighting, **KNOWN).select(logits, 0)
        static = TopK(k, weighting, **KNOWN).select(logits, 0)
        assert all(torch.equal(*pair) for pair in zip(mixed[:3], static[:3], strict=True))


@pytest.mark.parametrize("k", [0.25, 1.5, 4.9, 7.003])
def test_spends_k_on_average(k: float) -> None:
    logits = torch.randn(20_000, 8, generator=torch.Generator().manual_seed(0))
    count = MixedTopK(k, **KNOWN).select(logits, 3, token_context(20_000)).count.double()
    share = k - int(k)
    assert abs(count.mean().item() - k) < 4 * (share * (1 - share) / 20_000) ** 0.5
    assert count.unique().tolist() == [int(k), int(k) + 1]


def test_the_number_has_nothing_to_do_with_the_logits() -> None:
    context = token_context(50)
    counts = [MixedTopK(2.5).select(torch.randn(50, 8), 1, context).count for _ in range(2)]
    assert torch.equal(*counts)
    assert not torch.equal(counts[0], MixedTopK(2.5).select(torch.randn(50, 8), 2, context).count)


def test_nothing_at_all() -> None:
    selection = MixedTopK(0.0).select(torch.randn(3, 8), 0, token_context(3))
    assert selection.experts.tolist() == [[8]] * 3
    assert selection.count.tolist() == [0] * 3
    assert selection.weights.tolist() == [[0.0]] * 3


def test_limits() -> None:
    assert {k: MixedTopK(k).limits for k in (0.0, 0.5, 4.0, 4.5)} == {
        0.0: (0, 0),
        0.5: (0, 1),
        4.0: (4, 4),
        4.5: (4, 5),
    }


@pytest.mark.parametrize("k", [-0.5, float("nan"), float("inf")])
def test_refuses_a_k(k: float) -> None:
    with pytest.raises(InputError, match=f"mixed_topk: k is {k}"):
        MixedTopK(k)


def test_refuses() -> None:
    with pytest.raises(InputError, match="loud"):
        MixedTopK(2.5, "loud")
    with pytest.raises(InputError, match="k is 9 but layer 0 has 8 experts"):
        MixedTopK(8.5).select(torch.zeros(1, 8), 0, token_context(1))
    with pytest.raises(InputError, match="mixed_topk: draws by sample and position"):
        MixedTopK(2.5).select(torch.zeros(1, 8), 0)


def test_is_made_from_a_study(tmp_path: Path) -> None:
    counts = [[1, 2, 16], [3] * 7]
    paths = [tmp_path / f"{number}.parquet" for number in range(2)]
    for path, count in zip(paths, counts, strict=True):
        pq.write_table(pa.table({"count": pa.array(count, pa.int16()), "layer": [0] * len(count)}), path)
    assert mean_count(paths[:1]) == 19 / 3
    settings = {"matched": "16experts_bh_a030", "weighting": "sum_to_one"}
    matched = MixedTopK.from_study(settings, {"matched": paths})
    assert (matched.k, matched.weighting, matched.limits) == (4.0, "sum_to_one", (4, 4))
    assert MixedTopK.from_study({"k": 4.5, "weighting": "model"}, {}) == MixedTopK(4.5)
    pq.write_table(pa.table({"count": pa.array([], pa.int16())}), paths[0])
    with pytest.raises(InputError, match="no row"):
        mean_count(paths[:1])
