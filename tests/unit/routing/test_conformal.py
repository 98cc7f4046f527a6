"""Conformal routing against its definition, and what its p-values claim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference import routing_rules as reference
from reference.bh import rejections
from reference.router_logits import levels, router_logits
from switchyard.errors import InputError
from switchyard.routing import Conformal
from switchyard.routing.logit_table import write_logits


@st.composite
def cases(draw: st.DrawFn) -> tuple[torch.Tensor, np.ndarray, float]:
    """Logits, calibration [num_experts, n] with the very logits and many ties among it, and an alpha it allows."""
    logits = draw(router_logits(experts=(1, 2, 3, 8)))
    num_experts = logits.shape[-1]
    alpha = draw(st.one_of(st.floats(0.2, 1.0, exclude_max=True), st.integers(20, 99).map(lambda n: n / 100)))
    least = int(np.ceil(num_experts / alpha)) - 1
    size = draw(st.integers(least, least + 12))
    own = st.sampled_from(logits.float().flatten().tolist())
    value = st.one_of(own, st.floats(-25, 25, width=32), st.integers(-2, 2).map(float))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pool = np.array(draw(st.lists(value, min_size=1, max_size=8)), np.float32)
    calibration = np.sort(generator.choice(pool, (num_experts, size)), axis=-1)
    return logits, calibration, alpha


@given(data=st.data(), case=cases())
def test_equals_the_naive_reference(data: st.DataObject, case: tuple) -> None:
    logits, calibration, alpha = case
    num_experts = logits.shape[-1]
    max_k = data.draw(st.integers(1, num_experts))
    min_k = data.draw(st.integers(0, max_k))
    rule = Conformal(alpha, max_k, min_k, calibration=[calibration])
    selection = rule.select(logits, 0)
    told = rule.p_values(logits.double().numpy(), 0)
    for token, row in enumerate(logits.double().tolist()):
        pairs = zip(row, calibration.tolist(), strict=True)
        p = [reference.conformal_p_value(x, of_expert) for x, of_expert in pairs]
        n = rejections(p, alpha)
        experts = reference.choose(row, n, min_k, max_k)
        assert told[token].tolist() == p
        assert selection.rejections[token].item() == n
        assert selection.experts[token].tolist() == experts + [num_experts] * (max_k - len(experts))


def test_float64_logits_are_not_rounded() -> None:
    calibration = np.zeros((1, 9), np.float32)
    logits = torch.tensor([[1e-300], [0.0], [-1e-300]], dtype=torch.float64)
    assert Conformal(0.2, 1, 0, calibration=[calibration]).select(logits, 0).rejections.tolist() == [1, 0, 0]


def test_each_expert_is_held_against_its_own_calibration() -> None:
    calibration = np.array([[0.0] * 40, [5.0] * 40], np.float32)
    rule = Conformal(0.1, 2, 0, calibration=[calibration])
    assert rule.p_values(np.array([[1.0, 1.0]]), 0).tolist() == [[1 / 41, 1.0]]
    selection = rule.select(torch.tensor([[1.0, 1.5]]), 0)
    assert selection.rejections.tolist() == [1]
    assert selection.experts.tolist() == [[1, 2]]  # expert 0 is rejected, the largest logit is chosen


def test_p_values_are_valid_one_by_one() -> None:
    """2,000 calibration texts of 99 tokens, one fresh token each: P(p <= level) is the level, a multiple of 1 / 100."""
    generator = np.random.default_rng(0)
    p = []
    for _ in range(2_000):
        calibration = np.sort(generator.normal(size=(4, 99)), axis=-1)
        p.append(Conformal(0.3, 4, calibration=[calibration]).p_values(generator.normal(size=(1, 4)), 0))
    for level in (0.05, 0.2, 0.5):
        share = (np.concatenate(p) <= level).mean()
        assert abs(share - level) < 4 * (level * (1 - level) / 8_000) ** 0.5


@given(size=st.integers(1, 400), alpha=levels)
def test_refuses_too_little_calibration_text(size: int, alpha: float) -> None:
    calibration = [np.zeros((8, size), np.float32)]
    if size + 1 < 8 / alpha:
        with pytest.raises(InputError, match=f"conformal: {size} calibration tokens .* give more"):
            Conformal(alpha, 4, calibration=calibration)
    else:
        everything = torch.full((1, 8), 1.0)
        assert Conformal(alpha, 4, calibration=calibration).select(everything, 0).rejections.tolist() == [8]


def test_refuses() -> None:
    sorted_logits = np.zeros((8, 100), np.float32)
    with pytest.raises(InputError, match="calibration is missing"):
        Conformal(0.3, 4)
    with pytest.raises(InputError, match="layer 1 must be .* ascending"):
        Conformal(0.3, 4, calibration=[sorted_logits, np.random.default_rng(0).normal(size=(8, 100))])
    with pytest.raises(InputError, match="layer 0 must be"):
        Conformal(0.3, 4, calibration=[np.zeros(100)])
    with pytest.raises(InputError, match="16 experts but its calibration 8"):
        Conformal(0.3, 4, calibration=[sorted_logits]).select(torch.zeros(1, 16), 0)


def test_is_made_from_a_study(tmp_path: Path) -> None:
    layers = [np.random.default_rng(seed).normal(size=(50, 8)).astype(np.float32) for seed in range(2)]
    write_logits(tmp_path / "logits.parquet", layers, {})
    rule = Conformal.from_study(
        {"alpha": 0.3, "max_k": 4, "weighting": "model"}, {"logits": tmp_path / "logits.parquet"}
    )
    assert rule.limits == (1, 4)
    for kept, logits in zip(rule.calibration, layers, strict=True):
        assert kept.dtype == np.float32
        assert np.array_equal(kept, np.sort(logits, axis=0).T)
