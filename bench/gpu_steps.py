"""The ten steps of `bench.gpu_acceptance`. Each takes the bench and returns what it found, as JSON can hold it."""

from __future__ import annotations

import copy
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from tests.reference.experts import weighted_experts
from torch import Tensor, nn
from transformers import (
    DynamicCache,
    MixtralConfig,
    MixtralForCausalLM,
    OlmoeConfig,
    OlmoeForCausalLM,
    StaticCache,
)
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from bench.attached import calibrate, mean_count, rule_of_mean, twin
from switchyard.errors import InputError
from switchyard.evaluation.experiment import run_experiment
from switchyard.evaluation.speed import copied_bytes
from switchyard.models.blocks import describe, find_moe_blocks
from switchyard.models.load import load_tokenizer
from switchyard.planning import footprint
from switchyard.routing import TopK, attach
from switchyard.routing.experts import RAGGED
from switchyard.runtime import workers
from switchyard.runtime.placement import CONTEXT_BYTES, GB
from switchyard.traces.writer import TraceWriter

ROOT = Path(__file__).parents[1]
NEEDS_CUDA = "needs CUDA"

OLMOE = {"hidden_size": 2048, "intermediate_size": 1024, "num_experts": 64, "num_experts_per_tok": 8}
OLMOE |= {
    "num_hidden_layers": 16,
    "num_attention_heads": 16,
    "vocab_size": 50304,
    "max_position_embeddings": 4096,
}
MIXTRAL = {"hidden_size": 4096, "intermediate_size": 14336, "num_local_experts": 8, "num_experts_per_tok": 2}
MIXTRAL |= {"num_hidden_layers": 4, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000}
"""Four of Mixtral's 32 layers, which is what one card holds."""

TINY_OLMOE = OLMOE | {"hidden_size": 64, "intermediate_size": 32, "num_experts": 16, "num_experts_per_tok": 8}
TINY_OLMOE |= {"num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 4096}
TINY_MIXTRAL = MIXTRAL | {"hidden_size": 64, "intermediate_size": 32, "num_hidden_layers": 2}
TINY_MIXTRAL |= {"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 512}

IDS = {"pad_token_id": 1, "bos_token_id": None, "eos_token_id": 0}

Step = Callable[["Bench"], dict[str, Any]]


class Clock:
    """What is left of the run's time."""

    def __init__(self, limit_s: float) -> None:
        self.end = time.monotonic() + limit_s

    def left_s(self) -> float:
        return self.end - time.monotonic()


class Bench:
    """Device, sizes, and the models, which are made when they are first asked for."""

    def __init__(self, device: str, *, tiny: bool, clock: Clock) -> None:
        self.device, self.is_cuda, self.tiny, self.clock = device, device == "cuda", tiny, clock
        self.dtype = torch.bfloat16 if self.is_cuda else torch.float32
        self.length = 16 if tiny else 512
        """Tokens of a sequence."""
        self.prefills = (2,) if tiny else (1, 8, 32)
        self.decodes = (1,) if tiny else (1, 16, 64)
        self.repeats = 2 if tiny else 20
        self.many = 64 if tiny else 16384
        """Tokens of the largest batch."""

    @cached_property
    def olmoe(self) -> nn.Module:
        return self._made(OlmoeForCausalLM, OlmoeConfig(**(TINY_OLMOE if self.tiny else OLMOE), **IDS))

    @cached_property
    def short(self) -> nn.Module:
        """OLMoE's blocks, few of them, for what compiles."""
        config = copy.deepcopy(self.olmoe.config)
        config.num_hidden_layers = 1 if self.tiny else 2
        return self._made(OlmoeForCausalLM, config)

    @cached_property
    def mixtral(self) -> nn.Module:
        return self._made(
            MixtralForCausalLM, MixtralConfig(**(TINY_MIXTRAL if self.tiny else MIXTRAL), **IDS)
        )

    def _made(self, kind: Any, config: Any) -> nn.Module:
        """Random weights; router logits have a standard deviation of 1, since the norm before them makes it so."""
        torch.manual_seed(0)
        with torch.device(self.device):
            model = kind._from_config(config, dtype=self.dtype, attn_implementation="sdpa").eval()
            for block in find_moe_blocks(model):
                nn.init.normal_(block.router.weight, std=config.hidden_size**-0.5)
        return model

    def ids(self, model: nn.Module, batch: int, length: int | None = None) -> Tensor:
        """Random token ids [batch, length], the same for all that ask."""
        generator = torch.Generator().manual_seed(0)
        size = batch, length or self.length
        return torch.randint(2, model.config.vocab_size, size, generator=generator).to(self.device)

    @cached_property
    def bh(self) -> Any:
        """BH at the level whose mean number of experts on a batch of OLMoE is nearest to 4."""
        return self.bh_of(self.olmoe)

    def bh_of(self, model: nn.Module) -> Any:
        """The same of a model."""
        ids = self.ids(model, 2)
        return rule_of_mean(model, calibrate(model, ids), partial(hidden, ids))

    def top(self, share: int = 1) -> TopK:
        """TopK of OLMoE's trained number of experts, or of a fraction of it."""
        return TopK(self.olmoe.config.num_experts_per_tok // share)


@torch.inference_mode()
def hidden(ids: Tensor, model: nn.Module) -> Tensor:
    """The last hidden states of a prefill."""
    return model.base_model(input_ids=ids, use_cache=False).last_hidden_state


def warm_worker(bench: Bench) -> dict[str, Any]:
    """1. Two jobs have one worker, which has the card in the second one, too."""
    with tempfile.TemporaryDirectory(prefix="switchyard-") as place, _environment():
        workers.start()
        found = []
        for number in range(2):
            answer = Path(place, f"{number}.json")
            asked = {"answer": str(answer), "device": bench.device}
            workers.call("bench.gpu_worker:add", asked, log=Path(place, "log"), home="acceptance")
            found.append(json.loads(answer.read_text()) | {"log": Path(place, "log").read_text()})
    first, second = found
    return {"is_warm": first["pid"] == second["pid"] != os.getpid(), "first": first, "second": second}


@contextmanager
def _environment() -> Iterator[None]:
    """Let workers import what this process can."""
    before = os.environ.copy()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "lib")])
    yield
    os.environ.clear()
    os.environ.update(before)


def real_dimensions(bench: Bench) -> dict[str, Any]:
    """2. OLMoE and Mixtral with random weights: finite outputs, and router logits of standard deviation 1."""
    return {name: _made_up(bench, getattr(bench, name)) for name in ("olmoe", "mixtral")}


def _made_up(bench: Bench, model: nn.Module) -> dict[str, Any]:
    seen: list[Tensor] = []
    with attach(model, None, observer=lambda layer, logits, *_: seen.append(logits.float().std().cpu())):
        output = hidden(bench.ids(model, 1), model)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    return {
        "weights_gb": weights / GB,
        "expected_gb": footprint.weights_gb(describe(model.config), str(bench.dtype).removeprefix("torch.")),
        "logit_std": [one.item() for one in seen],
        "is_finite": bool(output.isfinite().all()),
    }


def plain_top_k(bench: Bench) -> dict[str, Any]:
    """3. TopK(trained) is the untouched model bit for bit, and ragged experts are those of a loop in float32."""
    found: dict[str, Any] = {}
    options = {"do_sample": False, "max_new_tokens": 4 if bench.tiny else 32}
    options["min_new_tokens"] = options["max_new_tokens"]
    for name, model in (("olmoe", bench.olmoe), ("mixtral", bench.mixtral)):
        ids = bench.ids(model, 2)
        rule = TopK(model.config.num_experts_per_tok)
        with torch.inference_mode():
            own = model(input_ids=ids).logits, model.generate(ids, **options)
            with attach(model, rule):
                attached = model(input_ids=ids).logits, model.generate(ids, **options)
        equal = [torch.equal(ours, theirs) for ours, theirs in zip(attached, own)]
        share = (attached[1] == own[1]).float().mean().item()
        found[name] = {"is_equal_prefill": equal[0], "is_equal_generated": equal[1], "equal_tokens": share}
    experts = find_moe_blocks(bench.olmoe)[0].experts
    return found | {"ragged": {name: _ragged(experts, index) for name, index in _indices(bench).items()}}


def _indices(bench: Bench) -> dict[str, Tensor]:
    """Chosen experts [tokens, slots] in odd shapes; a slot that holds num_experts is empty."""
    config, generator = bench.olmoe.config, torch.Generator().manual_seed(0)
    empty, slots = config.num_experts, config.num_experts_per_tok
    chosen = torch.rand(16, empty, generator=generator).argsort(dim=-1)[:, :slots]
    counts = torch.randint(slots + 1, (16, 1), generator=generator)
    some = chosen.masked_fill(torch.arange(slots) >= counts, empty)
    few = torch.rand(16, slots, generator=generator).argsort(dim=-1)
    one_each = torch.full_like(chosen, empty)
    one_each[:, 0] = 3
    cases = {"empty_slots": some, "empty_experts": few, "empty_tokens": torch.full_like(chosen, empty)}
    cases |= {"one_token": some[counts.argmax()][None], "all_to_one_expert": one_each}
    return {name: index.to(bench.device) for name, index in cases.items()}


def _ragged(experts: nn.Module, index: Tensor) -> dict[str, Any]:
    generator, weight = torch.Generator().manual_seed(1), experts.down_proj
    rows = torch.randn(len(index), weight.shape[1], generator=generator).to(weight.device, weight.dtype)
    weights = torch.rand(index.shape, generator=generator).to(weight.device, weight.dtype)
    with torch.inference_mode():
        ours = ALL_EXPERTS_FUNCTIONS[RAGGED](experts, rows, index, weights).float().cpu()
        expected = weighted_experts(copy.deepcopy(experts).cpu(), rows.cpu(), index.cpu(), weights.cpu())
    furthest = (ours - expected).abs().max().item()
    bound = (2e-2 if weight.dtype == torch.bfloat16 else 1e-5) * max(expected.abs().max().item(), 1e-30)
    return {"furthest": furthest, "bound": bound, "is_close": furthest <= bound}


def waits(bench: Bench) -> dict[str, Any]:
    """4. How often the host waits for the card in a forward; 0 is wanted."""
    if not bench.is_cuda:
        return {"waits": NEEDS_CUDA}
    found = {}
    for name, rule, own in (("untouched", None, True), ("top-k", bench.top(), False), ("bh", bench.bh, True)):
        model = twin(bench.olmoe, "grouped_mm")
        with ExitStack() as stack:
            if rule is not None:
                stack.enter_context(attach(model, rule, own_when_full=own))
            for workload, run in _workloads(bench, model, prefills=(8,), decodes=(1,)).items():
                run(model)
                found[f"{name}, {workload}"] = _waits(partial(run, model))
    return {"waits": found}


def _waits(call: Callable[[], object]) -> int:
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        call()
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(one.message) for one in caught)


def same_bits(bench: Bench) -> dict[str, Any]:
    """5. The same batch again and again gives the same bits."""
    ids, found = bench.ids(bench.olmoe, bench.prefills[-1] if bench.tiny else 8), {}
    for name, rule in (("top-k", bench.top()), ("bh", bench.bh)):
        with attach(bench.olmoe, rule, own_when_full=False):
            first = hidden(ids, bench.olmoe)
            again = [torch.equal(hidden(ids, bench.olmoe), first) for _ in range(bench.repeats - 1)]
        found[name] = {"is_equal": all(again), "runs": len(again) + 1}
    return found


def peak_memory(bench: Bench) -> dict[str, Any]:
    """6. The largest batches against what a job would lease for them (`gpu_mem_gb`).

    With all 64 experts the rows of the experts have 2^31 elements: the last sequence is compared with itself alone.
    """
    olmoe, mixtral, found = bench.olmoe, bench.mixtral, {}
    cases = [
        (olmoe, bench.top().k),
        (olmoe, olmoe.config.num_experts),
        (mixtral, mixtral.config.num_local_experts),
    ]
    for model, k in cases:
        name = f"{model.config.model_type}, {bench.many} tokens, top-{k}"
        with attach(model, TopK(k), own_when_full=False):
            found[name] = _peak(bench, model, k)
    return found


def _peak(bench: Bench, model: nn.Module, k: int) -> dict[str, Any]:
    ids = bench.ids(model, bench.many // bench.length)
    dtype = str(bench.dtype).removeprefix("torch.")
    leased = footprint.gpu_mem_gb(describe(model.config), dtype, bench.many, slots=k)
    if bench.is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        others = torch.cuda.memory_allocated() - sum(parameter.nbytes for parameter in model.parameters())
    last = hidden(ids, model)[-1]
    found: dict[str, Any] = {
        "gpu_mem_gb": leased,
        "is_finite": bool(last.isfinite().all()),
        "peak_gb": NEEDS_CUDA,
    }
    if bench.is_cuda:
        peak = torch.cuda.max_memory_allocated() - others + CONTEXT_BYTES
        reserved = torch.cuda.max_memory_reserved() - others + CONTEXT_BYTES
        found |= {"peak_gb": peak / GB, "reserved_gb": reserved / GB, "is_within_lease": peak <= leased * GB}
    alone = hidden(ids[-1:], model)[0]
    found["furthest_from_alone"] = ((last - alone).abs().max() / alone.abs().max()).item()
    if (
        k == find_moe_blocks(model)[0].experts.num_experts
    ):  # no choice can differ: only an index that overflows
        found["is_close_to_alone"] = found["furthest_from_alone"] <= 0.05
    return found


def speed(bench: Bench) -> dict[str, Any]:
    """7. Prefill and decode, alternating: native grouped, batched and compiled; ragged top-k, half of it, BH at 4."""
    untouched = {name: twin(bench.olmoe, name) for name in ("grouped_mm", "batched_mm")}
    backend = "inductor" if bench.is_cuda else "eager"  # a CPU would compile C++ for minutes
    compiled = torch.compile(twin(bench.olmoe, "grouped_mm").base_model, backend=backend, dynamic=False)
    rules = {"ragged top-k": bench.top(), "ragged half of top-k": bench.top(2), "bh": bench.bh}
    attached = {name: twin(bench.olmoe, "grouped_mm") for name in rules}
    found: dict[str, Any] = {"clock": "events" if bench.is_cuda else "wall", "compiled_by": backend}
    with ExitStack() as stack:
        for name, rule in rules.items():
            stack.enter_context(attach(attached[name], rule, own_when_full=False))
        sizes = _workloads(bench, bench.olmoe, prefills=bench.prefills, decodes=bench.decodes)
        found["bh_mean"] = mean_count_of(bench)
        for workload, run in sizes.items():
            if bench.clock.left_s() < 60 and not bench.tiny:
                found[workload] = "left out: out of time"
                continue
            models = {f"native {name}": model for name, model in untouched.items() if _runs(bench, name, run)}
            calls = {name: partial(run, model) for name, model in (models | attached).items()}
            if bench.clock.left_s() > 240 or bench.tiny:
                calls["native compiled"] = partial(run, _Compiled(compiled))
            found[workload] = milliseconds(calls, bench)
    return found


class _Compiled:
    """A compiled core in the place of a model."""

    def __init__(self, core: Any) -> None:
        self.base_model = core


def mean_count_of(bench: Bench) -> float:
    """BH's mean number of experts on the batch that it was fitted on."""
    ids = bench.ids(bench.olmoe, 2)
    return mean_count(bench.olmoe, bench.bh, partial(hidden, ids))


def _runs(bench: Bench, implementation: str, run: Any) -> bool:
    """Whether a workload's copies of weights fit: at most a quarter of the card, 1 GB elsewhere."""
    if implementation != "batched_mm":
        return True
    limit = torch.cuda.get_device_properties(0).total_memory // 4 if bench.is_cuda else GB
    return copied_bytes(bench.olmoe, run.tokens) <= limit


class Prefill:
    """A prefill of a batch."""

    def __init__(self, bench: Bench, model: nn.Module, batch: int) -> None:
        self.ids = bench.ids(model, batch)
        self.tokens = self.ids.numel()

    def __call__(self, model: Any) -> None:
        hidden(self.ids, model)


class Decode:
    """One token for each sequence of a batch, after a prompt that stays in the cache."""

    def __init__(self, bench: Bench, model: nn.Module, batch: int) -> None:
        ids = bench.ids(model, batch, 8 if bench.tiny else 64)
        self.prompt, self.token, self.tokens = ids[:, :-1], ids[:, -1:], batch
        self.cache = DynamicCache(config=model.config)
        with torch.inference_mode():
            model.base_model(input_ids=self.prompt, past_key_values=self.cache)

    @torch.inference_mode()
    def __call__(self, model: Any) -> None:
        model.base_model(input_ids=self.token, past_key_values=self.cache)
        self.cache.crop(-1)


def _workloads(
    bench: Bench, model: nn.Module, *, prefills: tuple[int, ...], decodes: tuple[int, ...]
) -> dict[str, Any]:
    found: dict[str, Any] = {
        f"prefill {one} x {bench.length}": Prefill(bench, model, one) for one in prefills
    }
    return found | {f"decode {one}": Decode(bench, model, one) for one in decodes}


def milliseconds(calls: Mapping[str, Callable[[], object]], bench: Bench) -> dict[str, Any]:
    """Median, smallest and largest time of each call; they take turns, after two rounds that are not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for number in range(bench.repeats + 2):
        if number > 4 and bench.clock.left_s() < 30:
            break
        for name in names[number % len(names) :] + names[: number % len(names)]:
            took = one_ms(calls[name], bench)
            if number > 1:
                times[name].append(took)
    return {
        name: {
            "median_ms": statistics.median(own),
            "least_ms": min(own),
            "most_ms": max(own),
            "repeats": len(own),
        }
        for name, own in times.items()
    }


def one_ms(call: Callable[[], object], bench: Bench) -> float:
    """Milliseconds of a call, by events on the card or the host's clock."""
    if not bench.is_cuda:
        start = time.perf_counter()
        call()
        return 1000 * (time.perf_counter() - start)
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    before.record()
    call()
    after.record()
    torch.cuda.synchronize()
    return before.elapsed_time(after)


def after_attach(bench: Bench) -> dict[str, Any]:
    """8. The first prefill after an attach against the second."""
    run, found = partial(hidden, bench.ids(bench.olmoe, 1)), {}
    for name, rule in (("top-k", bench.top()), ("bh", bench.bh)):
        pairs = []
        for _ in range(3):
            with attach(bench.olmoe, rule, own_when_full=False):
                pairs.append([one_ms(lambda: run(bench.olmoe), bench) for _ in range(2)])
        found[name] = {
            "first_ms": [first for first, _ in pairs],
            "second_ms": [second for _, second in pairs],
        }
    return found


def traced_evaluation(bench: Bench) -> dict[str, Any]:
    """9. An evaluation of running text with its trace; the share of its time in which the card is busy."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("r*.md"))]
    texts = [texts[0][:2000]] if bench.tiny else texts * 4
    columns = {"text": texts, "original_bytes": [len(text.encode()) for text in texts]}
    columns |= {"sample_id": [*range(len(texts))], "page": [*range(len(texts))]}
    table = pa.table({**columns, "original_words": [len(text.split()) for text in texts]})
    structure = describe(bench.olmoe.config)
    sizes = {"num_experts": structure["num_experts"], "num_layers": structure["num_layers"]}
    limits = {"max_length": 64 if bench.tiny else 1024, "batch_tokens": 256 if bench.tiny else 16384}
    tokenizer = load_tokenizer(ROOT / "resources" / "pocket-olmoe")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "trace.parquet"
        start = time.perf_counter()
        with _busy(bench) as busy, TraceWriter(path, **sizes) as writer:
            scores = run_experiment(
                bench.olmoe, tokenizer, bench.bh, table, samples=None, trace_writer=writer, **limits
            )
        seconds, size = time.perf_counter() - start, path.stat().st_size
    return {
        "seconds": seconds,
        "tokens": sum(scores["tokens"].to_pylist()),
        "rows": writer.rows,
        "trace_bytes": size,
        "busy_share": busy() / seconds if bench.is_cuda else NEEDS_CUDA,
        "is_traced": writer.rows >= structure["num_layers"] * sum(scores["tokens"].to_pylist()),
    }


@contextmanager
def _busy(bench: Bench) -> Iterator[Callable[[], float]]:
    """Seconds in which the card was at work inside the `with` block, to be asked for after it."""
    if not bench.is_cuda:
        yield lambda: 0.0
        return
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        yield lambda: sum(event.self_device_time_total for event in profile.key_averages()) / 1e6


def static_and_compiled(bench: Bench) -> dict[str, Any]:
    """10. A static cache, and a compiled model, under a rule with an observer: right, or refused in one line."""
    backend = "inductor" if bench.is_cuda else "eager"
    model, rule = twin(bench.short, "grouped_mm"), bench.bh_of(bench.short)
    compiled = torch.compile(twin(bench.short, "grouped_mm"), backend=backend)
    observed = partial(_observed, rule, bench.ids(model, 2))
    decoded, prefilled = observed(model, _decode), observed(model, _prefill)
    ways = {
        "static cache": (lambda: observed(model, partial(_decode, is_static=True)), decoded),
        "compiled under attach": (
            lambda: observed(model, partial(_prefill, backend=backend)),
            prefilled,
        ),
        "compiled before attach": (lambda: observed(compiled, _prefill), prefilled),
    }
    return {name: _right_or_refused(way, expected) for name, (way, expected) in ways.items()}


def _right_or_refused(
    way: Callable[[], tuple[Tensor, list[Tensor]]], expected: tuple[Tensor, list[Tensor]]
) -> dict[str, Any]:
    try:
        states, chosen = way()
    except InputError as error:
        return {"refused": " ".join(str(error).split())}
    furthest = (states - expected[0]).abs().max().item()
    alike = [torch.equal(ours, theirs) for ours, theirs in zip(chosen, expected[1])]
    is_seen = len(chosen) == len(expected[1])
    share = sum(alike) / len(expected[1])
    bound = (0.05 if states.dtype == torch.bfloat16 else 1e-4) * expected[0].abs().max().item()
    return {"furthest": furthest, "is_close": furthest <= bound, "is_observed": is_seen, "same_counts": share}


@torch.inference_mode()
def _observed(
    rule: Any, ids: Tensor, model: Any, run: Callable[[Any, Tensor], list[Tensor]]
) -> tuple[Tensor, list[Tensor]]:
    """Logits of a run under a rule [batch, time, vocabulary], and the counts that were observed, layer by layer."""
    counts: list[Tensor] = []
    with attach(
        model, rule, observer=lambda layer, logits, selection, _: counts.append(selection.count.clone())
    ):
        states = run(model, ids)
    return torch.cat(states, dim=1), counts


def _prefill(model: Any, ids: Tensor, *, backend: str | None = None) -> list[Tensor]:
    """Two prefills of one shape, the second of other tokens."""
    core = torch.compile(model, backend=backend) if backend else model
    return [core(input_ids=part, use_cache=False).logits for part in (ids, ids.flip(1))]


def _decode(model: Any, ids: Tensor, *, is_static: bool = False) -> list[Tensor]:
    """A prefill and two decoded tokens."""
    cache = (
        StaticCache(config=model.config, max_cache_len=ids.shape[1])
        if is_static
        else DynamicCache(config=model.config)
    )
    parts = ids[:, :-2], ids[:, -2:-1], ids[:, -1:]
    return [model(input_ids=part, past_key_values=cache, use_cache=True).logits[:, -1:] for part in parts]


STEPS: tuple[Step, ...] = (
    warm_worker,
    real_dimensions,
    plain_top_k,
    waits,
    same_bits,
    peak_memory,
    speed,
    after_attach,
    traced_evaluation,
    static_and_compiled,
)
"""In order; versions come before them."""
