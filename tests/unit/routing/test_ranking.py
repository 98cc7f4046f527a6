"""The fast sort against Python's, and both of its ways against each other."""

from __future__ import annotations

import math

import pytest
import torch

from switchyard.routing.ranking import FEW_TOKENS, rank

MANY, FEW = 4 * FEW_TOKENS, FEW_TOKENS - 1
ODD = [0.0, -0.0, math.inf, -math.inf, 1.0, -1.0, 1e-45, -1e-45, 3.4e38, -3.4e38, 1.0000001, 0.5]


def made_up(kind: str, tokens: int, dtype: torch.dtype) -> torch.Tensor:
    torch.manual_seed(0)
    odd = torch.tensor(ODD)[torch.randint(len(ODD), (tokens, 17))]
    kinds = {
        "random": torch.randn(tokens, 64),
        "ties": torch.randint(-3, 3, (tokens, 33)) / 2,
        "constant": torch.zeros(tokens, 8),
        "odd": odd,
        "one expert": torch.randn(tokens, 1),
    }
    return kinds[kind].to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("tokens", [MANY, FEW, 1, 0])
@pytest.mark.parametrize("kind", ["random", "ties", "constant", "odd", "one expert"])
def test_ranks_by_logit_then_by_index(kind: str, tokens: int, dtype: torch.dtype) -> None:
    logits = made_up(kind, tokens, dtype)
    untouched = logits.clone()
    ranked, order = rank(logits)
    expected = [sorted(range(len(row)), key=lambda e: (-row[e], e)) for row in logits.tolist()]
    assert order.dtype == torch.int64
    assert order.tolist() == expected
    assert torch.equal(ranked, logits.gather(-1, order))
    assert ranked.dtype == dtype
    assert torch.equal(logits, untouched)


def test_takes_rows_that_do_not_lie_side_by_side() -> None:
    logits = made_up("random", MANY, torch.float32)
    strided = torch.stack([logits, -logits], dim=-1)[..., 0]
    assert torch.equal(rank(strided)[1], rank(logits)[1])
