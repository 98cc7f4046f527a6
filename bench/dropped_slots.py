"""What an unused slot costs: BH with about 4 experts in 8 slots against the model's own top-4, side by side.

Run with `PYTHONPATH=lib python bench/dropped_slots.py`. A random OLMoE is timed untouched at top-4, then with BH
attached at the alpha whose mean count is nearest to 4; rounds are interleaved, so that what else runs on the
machine falls on both. Prints the median ratio of the rounds; the design allows 1.15.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import OlmoeConfig, OlmoeForCausalLM

from switchyard.routing import (
    BenjaminiHochberg,
    NullDistribution,
    Selection,
    TokenContext,
    TopK,
    attach,
    fit_nulls,
)

ROUNDS = 15
TOKENS = 2048
SLOTS = 8
TARGET = 4.0


def main() -> None:
    """Time prefill and decode, one line each."""
    torch.set_num_threads(1)
    model = build_model()
    ids = torch.randint(model.config.vocab_size, (8, TOKENS // 8))
    nulls = calibrate(model, ids)
    rules = [BenjaminiHochberg(percent / 100, SLOTS, min_k=0, null=nulls) for percent in range(14, 28, 2)]
    means = {rule: mean_count(model, rule, ids) for rule in rules}
    rule = min(means, key=lambda candidate: abs(means[candidate] - TARGET))
    print(f"BH at alpha {rule.alpha:.2f}: {means[rule]:.2f} experts on average in {SLOTS} slots")
    for name, batch, repeats in (("prefill", ids, 1), ("decode, batch 1", ids[:1, :1], 20)):
        print(f"{name}: {compare(model, rule, batch, repeats):.3f} x the model's own top-4")
        print(f"{name}: {compare(model, TopK(4), batch, repeats):.3f} x with top-4 attached")


def build_model() -> OlmoeForCausalLM:
    """A random OLMoE whose own routing is top-4, wide enough for experts to dominate."""
    torch.manual_seed(0)
    config = OlmoeConfig(
        vocab_size=4096,
        hidden_size=256,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_experts_per_tok=4,
        initializer_range=0.1,
        eos_token_id=0,
    )
    return OlmoeForCausalLM(config).eval()


def calibrate(model: OlmoeForCausalLM, ids: torch.Tensor) -> list[NullDistribution]:
    """Fit the null without each token's own choice in every layer."""
    seen: dict[int, np.ndarray] = {}
    with attach(model, None, observer=lambda layer, logits, *_: seen.update({layer: logits.numpy()})):
        run(model, ids)
    return [fit_nulls(logits, model.config.num_experts_per_tok)["unselected"] for logits in seen.values()]


def mean_count(model: OlmoeForCausalLM, rule: BenjaminiHochberg, ids: torch.Tensor) -> float:
    """Experts per token and layer under a rule."""
    counts: list[float] = []

    def observe(layer: int, logits: torch.Tensor, selection: Selection, context: TokenContext) -> None:
        counts.append(selection.count.double().mean().item())

    with attach(model, rule, observer=observe):
        run(model, ids)
    return statistics.mean(counts)


def compare(
    model: OlmoeForCausalLM, rule: BenjaminiHochberg | TopK, ids: torch.Tensor, repeats: int
) -> float:
    """Median over the rounds of the time with the rule attached over the time without."""
    ratios = []
    for _ in range(ROUNDS + 1):
        plain = seconds(lambda: run(model, ids), repeats)
        with attach(model, rule):
            ratios.append(seconds(lambda: run(model, ids), repeats) / plain)
    return statistics.median(ratios[1:])


def seconds(call: Callable[[], None], repeats: int) -> float:
    """Wall time of some calls, after one that is not timed."""
    call()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return time.perf_counter() - start


@torch.inference_mode()
def run(model: OlmoeForCausalLM, ids: torch.Tensor) -> None:
    """The forward without the head, which no rule touches."""
    model.base_model(input_ids=ids)


if __name__ == "__main__":
    main()
