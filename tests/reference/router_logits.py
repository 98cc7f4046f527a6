"""Router logits and nulls for the tests of rules: random, tied, constant and extreme."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st

from switchyard.routing import NullDistribution, TokenContext

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
levels = st.floats(0.0, 1.0, exclude_min=True, exclude_max=True)


@st.composite
def null_distributions(draw: st.DrawFn, *, step: float | None = None) -> NullDistribution:
    """Grids of 1 to 12 logits, multiples of `step` if given, flat stretches and jumps at both ends included."""
    size = draw(st.integers(1, 12))
    value = st.integers(-20, 20).map(lambda n: n * step) if step else st.floats(-20, 20, width=32)
    logit = draw(st.lists(value, min_size=size, max_size=size, unique=True))
    fractions = st.one_of(st.integers(0, 64).map(lambda n: n / 64), st.floats(0, 1))
    values = draw(st.lists(fractions, min_size=size, max_size=size))
    return NullDistribution(sorted(logit), sorted(values))


@st.composite
def router_logits(
    draw: st.DrawFn, experts: tuple[int, ...] = (1, 2, 3, 8, 64), on_grid: tuple[float, ...] = (0.0,)
) -> torch.Tensor:
    """Logits [tokens, num_experts] of up to 4 tokens in some dtype, of a few values drawn again and again (all equal
    where it is one), with or without random ones among them; some stand on `on_grid`."""
    num_experts, tokens = draw(st.sampled_from(experts)), draw(st.integers(1, 4))
    special = st.sampled_from((-1e30, 1e30, 0.0, -0.0, *on_grid))
    value = st.one_of(st.floats(-25, 25, width=32), special, st.integers(-2, 2).map(float))
    pool = draw(st.lists(value, min_size=1, max_size=8))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    from_pool = generator.random((tokens, num_experts)) < draw(st.sampled_from((0.3, 0.9, 1.0)))
    values = np.where(
        from_pool, generator.choice(pool, from_pool.shape), generator.normal(0, 3, from_pool.shape)
    )
    dtype = draw(st.sampled_from(DTYPES))
    return torch.from_numpy(values).to(dtype).clamp(torch.finfo(dtype).min, torch.finfo(dtype).max)


def token_context(tokens: int, *, sample: int = 0, start: int = 0) -> TokenContext:
    """Consecutive tokens of one sample."""
    position = torch.arange(start, start + tokens)
    zeros = torch.zeros_like(position)
    return TokenContext(zeros, zeros + sample, zeros, position, torch.ones_like(position, dtype=torch.bool))


def normal_null(points: int = 400, centre: float = 0.0) -> NullDistribution:
    """The standard normal distribution about `centre`."""
    from scipy.stats import norm

    logit = np.linspace(-5, 5, points)
    return NullDistribution(logit + centre, norm.cdf(logit))
