"""A rule inside a model against the model alone: BH at a mean of K experts, ragged experts with every slot full.

The pocket checkpoint and a random model of OLMoE-1B-7B's width are timed without the head, which no rule touches:
a forward over a batch, and decoding at batch 1 with a cache. Every variant is a twin of one model and shares its
weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import DynamicCache, OlmoeConfig, OlmoeForCausalLM

from bench.paired import Line, ratios, seconds
from switchyard.models.blocks import find_moe_blocks
from switchyard.models.load import load_model
from switchyard.routing import BenjaminiHochberg, NullDistribution, TopK, attach, fit_nulls

POCKET = Path(__file__).parents[1] / "resources" / "pocket-olmoe"
MEAN = 4
"""Experts per token and layer that BH is given, in as many slots as the model was trained with."""
PROMPT, STEPS = 64, 8
"""Tokens in the cache before decoding, and tokens decoded in one timed call."""
GATHERED_BYTES = 2**28
"""Weights that `batched_mm` may copy for one layer; beyond it, it is left out."""


class Size(NamedTuple):
    """A model and the batch of its timed forward."""

    name: str
    model: nn.Module
    ids: Tensor
    """int64 [batch, time]."""


def lines(device: str) -> Iterator[Line]:
    """One thread on a CPU, as an experiment has."""
    torch.set_num_threads(1)
    for make in (pocket, wide):
        size = make(device)
        yield from adaptive(size, device)
        yield from full(size, device)
        del size


def pocket(device: str) -> Size:
    """The shipped checkpoint: 4 layers, 128 wide, 64 experts of 64."""
    model = load_model(POCKET).to(device)
    return Size("pocket", model, tokens(model, 8, 256))


def wide(device: str) -> Size:
    """OLMoE-1B-7B's blocks with random weights: one layer on a CPU, all 16 in bfloat16 elsewhere."""
    whole = device != "cpu"
    config = OlmoeConfig(
        num_hidden_layers=16 if whole else 1,
        intermediate_size=1024,  # of OLMoE-1B-7B; the class has 2,048
        vocab_size=4096,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = OlmoeForCausalLM._from_config(config, dtype=torch.bfloat16 if whole else torch.float32)
    layers = config.num_hidden_layers
    name = f"2048 wide, {layers} layer{'s' * (layers > 1)}"
    return Size(name, model.eval(), tokens(model, 8, 512) if whole else tokens(model, 1, 256))


def tokens(model: nn.Module, batch: int, time: int) -> Tensor:
    """Random token ids [batch, time]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(model.config.vocab_size, (batch, time), generator=generator).to(model.device)


def adaptive(size: Size, device: str) -> Iterator[Line]:
    """BH with MEAN experts on average against the model's own static top-MEAN, both on `grouped_mm`."""
    model = twin(size.model, "grouped_mm")
    static = twin(model, "grouped_mm", top_k=MEAN)
    nulls = calibrate(model, size.ids)
    for workload, run in workloads(size).items():
        rule = rule_of_mean(model, nulls, run)
        achieved = mean_count(model, rule, run)
        with attach(model, rule):
            calls = {"BH": partial(run, model), "static": partial(run, static)}
            times = seconds(calls, device=device)
        what = f"attached BH, mean {achieved:.2f} experts ({size.name}), {workload}"
        yield Line(what, f"own top-{MEAN}, grouped_mm", ratios(times, "BH", "static"), "<= 1.10")


def full(size: Size, device: str) -> Iterator[Line]:
    """The trained top-k through the ragged experts, and attached as it comes, against the best stock backend."""
    top_k = size.model.config.num_experts_per_tok
    ragged, own = twin(size.model, "grouped_mm"), twin(size.model, "grouped_mm")
    for workload, run in workloads(size).items():
        stock = {name: twin(size.model, name) for name in stock_backends(size, workload)}
        with ExitStack() as attached:
            attached.enter_context(attach(ragged, TopK(top_k), own_when_full=False))
            attached.enter_context(attach(own, TopK(top_k)))
            variants = {"ragged": ragged, "attached": own, **stock}
            check(variants, size.ids[:1, :4])
            times = seconds({name: partial(run, model) for name, model in variants.items()}, device=device)
        best = min(stock, key=lambda name: median(times[name]))
        against = f"untouched, {best}, the best of {len(stock)}"
        what = f"attached top-{top_k}{{}} ({size.name}), {workload}"
        target = "<= 1.0" if workload == "forward" else ""
        yield Line(what.format(", ragged experts"), against, ratios(times, "ragged", best), target)
        yield Line(what.format(""), "untouched, grouped_mm", ratios(times, "attached", "grouped_mm"), "")


def twin(model: nn.Module, implementation: str, *, top_k: int | None = None) -> nn.Module:
    """A model with the same weights, in the same memory, an experts implementation and a static top-k of its own."""
    same = copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    same.set_experts_implementation(implementation)
    if top_k is not None:
        same.config.num_experts_per_tok = top_k
        for block in find_moe_blocks(same):
            block.router.top_k = top_k
    return same


def stock_backends(size: Size, workload: str) -> list[str]:
    """transformers' implementations that can run here: `batched_mm` copies the weights of every chosen expert."""
    experts = find_moe_blocks(size.model)[0].experts
    rows = size.ids.numel() if workload == "forward" else 1
    copied = rows * size.model.config.num_experts_per_tok * experts.gate_up_proj[0].nbytes
    return ["eager", "grouped_mm"] + ["batched_mm"] * (copied <= GATHERED_BYTES)


def workloads(size: Size) -> Mapping[str, Callable[[nn.Module], None]]:
    """What is timed, by name: functions of a model."""
    return {"forward": partial(forward, size.ids), "decode": Decoding(size)}


@torch.inference_mode()
def forward(ids: Tensor, model: nn.Module) -> None:
    """The whole batch at once."""
    model.base_model(input_ids=ids, use_cache=False)


class Decoding:
    """STEPS tokens one by one after a prompt of PROMPT tokens, whose cache is kept for all calls."""

    def __init__(self, size: Size) -> None:
        self.prompt, rest = size.ids[:1, :PROMPT], size.ids[:1, PROMPT : PROMPT + STEPS]
        self.steps = rest.split(1, dim=1)
        self.cache = DynamicCache(config=size.model.config)
        with torch.inference_mode():
            size.model.base_model(input_ids=self.prompt, past_key_values=self.cache)

    @torch.inference_mode()
    def __call__(self, model: nn.Module) -> None:
        for step in self.steps:
            model.base_model(input_ids=step, past_key_values=self.cache)
        self.cache.crop(-STEPS)


def rule_of_mean(
    model: nn.Module, nulls: Sequence[NullDistribution], run: Callable[[nn.Module], None]
) -> BenjaminiHochberg:
    """BH at the level whose mean count over a run is nearest to MEAN."""
    low, high, means = 0.0, 1.0, {}
    for _ in range(10):
        rule = BenjaminiHochberg((low + high) / 2, model.config.num_experts_per_tok, null=nulls)
        means[rule] = mean_count(model, rule, run)
        low, high = (rule.alpha, high) if means[rule] < MEAN else (low, rule.alpha)
    return min(means, key=lambda tried: abs(means[tried] - MEAN))


def calibrate(model: nn.Module, ids: Tensor) -> list[NullDistribution]:
    """The null without each token's own choice in every layer."""
    seen: list[Tensor] = []
    with attach(model, None, observer=lambda layer, logits, *_: seen.append(logits.float().cpu())):
        forward(ids, model)
    return [fit_nulls(logits.numpy(), model.config.num_experts_per_tok)["unselected"] for logits in seen]


def mean_count(model: nn.Module, rule: BenjaminiHochberg, run: Callable[[nn.Module], None]) -> float:
    """Experts per token and layer under a rule."""
    counts: list[Tensor] = []
    with attach(model, rule, observer=lambda layer, logits, selection, _: counts.append(selection.count)):
        run(model)
    return torch.cat(counts).double().mean().item()


@torch.inference_mode()
def check(variants: Mapping[str, nn.Module], ids: Tensor) -> None:
    """What is timed answers alike."""
    answers = {name: model.base_model(input_ids=ids).last_hidden_state for name, model in variants.items()}
    expected = answers["grouped_mm"].float()
    bound = (0.05 if expected.dtype != answers["grouped_mm"].dtype else 1e-3) * expected.abs().max()
    for name, answer in answers.items():
        if (answer.float() - expected).abs().max() > bound:
            raise SystemExit(f"bench attached: {name} and grouped_mm disagree")
