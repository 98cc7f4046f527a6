"""BH selection against softmax + top-k on the same logits, and against the textbook way in NumPy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from bench.paired import Line, ratios, seconds
from switchyard.routing import BenjaminiHochberg, NullDistribution, fit_nulls
from switchyard.routing.selection import Selection

TOKENS, EXPERTS, MAX_K, ALPHA = 20_000, 64, 8, 0.30


def lines(device: str) -> Iterator[Line]:
    """One thread on a CPU, as an experiment has."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    logits = torch.randn(TOKENS, EXPERTS)
    null = fit_nulls(torch.randn(TOKENS, EXPERTS).numpy(), MAX_K)["pooled"]
    rule = BenjaminiHochberg(ALPHA, MAX_K, null=[null])
    values, logits = logits.numpy(), logits.to(device)
    check(rule.select(logits, 0), textbook(values, null))
    calls = {
        "BH": lambda: rule.select(logits, 0),
        "top-k": lambda: torch.topk(torch.softmax(logits, dim=-1, dtype=torch.float32), MAX_K),
    }
    times = seconds(calls, device=device)
    size = f"{TOKENS:,} x {EXPERTS}, max_k {MAX_K}"
    target = "<= 3.0" if device == "cpu" else "<= 1.5"
    yield Line(f"BH selection ({size})", f"softmax + topk({MAX_K})", ratios(times, "BH", "top-k"), target)
    if device == "cpu":
        times = seconds(calls | {"textbook": lambda: textbook(values, null)})
        yield Line("BH selection (times faster)", "textbook", ratios(times, "textbook", "BH"), ">= 5")


def textbook(
    logits: np.ndarray, null: NullDistribution, alpha: float = ALPHA
) -> tuple[np.ndarray, np.ndarray]:
    """Experts (EXPERTS where none) and weights [tokens, MAX_K]: p-values, a sort, a comparison, a loop over slots."""
    p = 1.0 - np.interp(logits, null.logit, null.cdf, left=0.0, right=1.0)
    order = np.argsort(p, axis=-1)
    passed = np.take_along_axis(p, order, axis=-1) <= alpha * np.arange(1, EXPERTS + 1) / EXPERTS
    number = np.where(passed.any(-1), EXPERTS - np.argmax(passed[:, ::-1], axis=-1), 0)
    count = np.clip(number, 1, MAX_K)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares = exponentials / exponentials.sum(axis=-1, keepdims=True)
    experts = np.full((len(logits), MAX_K), EXPERTS)
    weights = np.zeros((len(logits), MAX_K), np.float32)
    for slot in range(MAX_K):
        used = np.flatnonzero(count > slot)
        experts[used, slot] = order[used, slot]
        weights[used, slot] = shares[used, order[used, slot]]
    return experts, weights


def check(found: Selection, expected: tuple[np.ndarray, np.ndarray]) -> None:
    """What is timed answers alike: the same experts for all but ties of p, the same weights."""
    experts, weights = expected
    same = (found.experts.cpu().numpy() == experts).all(axis=-1)
    if same.mean() < 0.999 or not np.allclose(found.weights.cpu().numpy()[same], weights[same], atol=1e-6):
        raise SystemExit("bench selection: BH and the textbook disagree")
