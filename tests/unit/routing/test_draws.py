"""Draws: equal to Python's integers, uniform, and without a trace of sample, layer, position or salt."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from reference import draws as reference
from reference.router_logits import token_context
from switchyard.errors import InputError
from switchyard.routing.draws import token_draws, uniform_draws

TOKENS = 20_000


def sequence(*, sample: int = 0, layer: int = 0, salt: str = "a", start: int = 0) -> np.ndarray:
    """Draws of consecutive positions."""
    position = torch.arange(start, start + TOKENS)
    return uniform_draws(torch.full_like(position, sample), layer, position, salt=salt).numpy()


@given(
    sample=st.integers(-1, 2**62), layer=st.integers(0, 200), position=st.integers(-1, 2**40), salt=st.text()
)
def test_equals_the_naive_reference(sample: int, layer: int, position: int, salt: str) -> None:
    drawn = uniform_draws(torch.tensor([sample]), layer, torch.tensor([position]), salt=salt)
    assert drawn.dtype == torch.float64
    assert drawn.item() == reference.draw(sample, layer, position, salt)


@pytest.mark.parametrize("salt", ["mixed_topk", "random_count"])
@pytest.mark.parametrize("layer", [0, 15])
def test_is_uniform_over_positions(layer: int, salt: str) -> None:
    drawn = sequence(layer=layer, salt=salt)
    assert drawn.min() >= 0.0 and drawn.max() < 1.0
    assert kstest(drawn, "uniform").pvalue > 1e-3


def test_is_uniform_over_samples_and_over_layers() -> None:
    samples = torch.arange(TOKENS)
    over_samples = uniform_draws(samples, 0, torch.zeros_like(samples), salt="a")
    over_layers = [uniform_draws(samples[:1], layer, samples[:1], salt="a").item() for layer in range(500)]
    assert kstest(over_samples.numpy(), "uniform").pvalue > 1e-3
    assert kstest(over_layers, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    "other", [{"layer": 1}, {"layer": 2}, {"sample": 1}, {"salt": "b"}, {"start": 1}, {"start": 2}], ids=str
)
def test_is_uncorrelated(other: dict) -> None:
    one, two = sequence(), sequence(**other)
    assert abs(np.corrcoef(one, two)[0, 1]) < 4 / TOKENS**0.5
    assert abs(np.corrcoef(one < 0.1, two < 0.1)[0, 1]) < 4 / TOKENS**0.5


def test_pairs_fill_the_square() -> None:
    for other in ({"layer": 1}, {"sample": 1}, {"start": 1}):
        cells = np.histogram2d(sequence(), sequence(**other), bins=10, range=[[0, 1]] * 2)[0]
        assert (
            (cells - TOKENS / 100) ** 2 / (TOKENS / 100)
        ).sum() < 150  # chi-square with 99 degrees of freedom


def test_bits_are_fair() -> None:
    bits = (sequence() * 2**53).astype(np.int64)[:, None] >> np.arange(53) & 1
    assert (abs(bits.mean(axis=0) - 0.5) < 4.5 * 0.5 / TOKENS**0.5).all()


def test_the_order_and_the_batch_do_not_matter() -> None:
    context = token_context(50, sample=3)
    whole = token_draws(context, 2, rule="mixed_topk")
    back = type(context)(*(column.flip(0) for column in context[:5]))
    assert torch.equal(token_draws(back, 2, rule="mixed_topk").flip(0), whole)
    assert torch.equal(token_draws(token_context(1, sample=3, start=7), 2, rule="mixed_topk"), whole[7:8])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_draws_the_same() -> None:
    position = torch.arange(TOKENS)
    there = uniform_draws(position.cuda() * 0, 3, position.cuda(), salt="a")
    assert torch.equal(there.cpu(), uniform_draws(position * 0, 3, position, salt="a"))


def test_needs_a_context() -> None:
    with pytest.raises(InputError, match="random_count: .* attach the rule"):
        token_draws(None, 0, rule="random_count")
