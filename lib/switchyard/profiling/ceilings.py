"""What the machine can do at most, measured here and now: a large product, a large copy. Never a datasheet."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

SIDES = {"cpu": 1024, "cuda": 8192}
"""Rows and columns of the square product."""
COPIED_BYTES = {"cpu": 2**27, "cuda": 2**31}
"""Of the copy: far beyond the caches of a processor or a card."""
REPEATS = 5


class Ceilings(NamedTuple):
    """The best of some repeats."""

    gflops: float
    """Billions of operations in a second of a square product in the model's dtype."""
    gbytes: float
    """Billions of bytes in a second that a copy reads and writes."""


def measure_ceilings(device: torch.device | str, dtype: torch.dtype) -> Ceilings:
    """Both ceilings, on the threads or the card that the process has."""
    kind = torch.device(device).type
    side = SIDES.get(kind, SIDES["cpu"])
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product = torch.empty_like(left)
    source = torch.ones(COPIED_BYTES.get(kind, COPIED_BYTES["cpu"]) // 4, device=device)
    target = torch.empty_like(source)
    return Ceilings(
        2 * side**3 / _best(lambda: torch.mm(left, right, out=product), kind) / 1e9,
        2 * source.nbytes / _best(lambda: target.copy_(source), kind) / 1e9,
    )


@torch.inference_mode()
def _best(call: Callable[[], object], kind: str) -> float:
    spent = []
    for _ in range(1 + REPEATS):
        if kind == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        if kind == "cuda":
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - start)
    return min(spent[1:])
