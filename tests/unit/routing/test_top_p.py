"""Top-p against its definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference import routing_rules as reference
from reference.router_logits import router_logits
from switchyard.errors import InputError
from switchyard.routing import TopP

shares = st.one_of(st.floats(0.0, 1.0, exclude_min=True), st.sampled_from((0.25, 0.5, 0.75, 1.0)))


@given(data=st.data(), p=shares)
def test_equals_the_naive_reference(data: st.DataObject, p: float) -> None:
    logits = data.draw(router_logits())
    max_k = data.draw(st.integers(1, logits.shape[-1]))
    min_k = data.draw(st.integers(0, max_k))
    selection = TopP(p=p, max_k=max_k, min_k=min_k).select(logits, 0)
    probabilities = torch.softmax(logits, dim=-1, dtype=torch.float32).double().tolist()
    assert selection.rejections is None
    for token, row in enumerate(logits.double().tolist()):
        experts = reference.choose(row, reference.top_p(probabilities[token], p), min_k, max_k)
        assert selection.count[token].item() == len(experts)
        assert selection.experts[token].tolist() == experts + [len(row)] * (max_k - len(experts))


def test_the_worked_example() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log2() * torch.tensor(2.0).log()
    counts = {p: TopP(p=p, max_k=4).select(logits, 0).count.item() for p in (0.1, 0.45, 0.6, 0.8, 0.9)}
    assert counts == {0.1: 1, 0.45: 1, 0.6: 2, 0.8: 3, 0.9: 4}


def test_a_flat_router_gives_p_of_its_experts() -> None:
    counts = [TopP(p=p, max_k=64).select(torch.zeros(1, 64), 0).count.item() for p in (0.25, 0.5, 1.0)]
    assert counts == [16, 32, 64]


def test_a_larger_share_never_chooses_fewer() -> None:
    logits = torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
    counts = torch.stack([TopP(p=p / 100, max_k=16).select(logits, 0).count for p in range(5, 101, 5)])
    assert (counts.diff(dim=0) >= 0).all()


@pytest.mark.parametrize("p", [0.0, -0.5, 1.01, 30, float("nan")])
def test_refuses_a_share(p: float) -> None:
    with pytest.raises(InputError, match=f"top_p: p is {p}"):
        TopP(p=p, max_k=4)
