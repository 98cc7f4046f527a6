"""Speed of routing rules side by side: prefill throughput and decode latency, without traces.

All configurations are measured in one process, one after the other in every round and in a rotated order, so that
a machine that slows down slows them all. Unless asked otherwise they all run ragged experts, so that they differ in
routing alone. What that costs is seen beside the untouched model, which runs transformers' own implementations of the
experts: `grouped_mm`, and `batched_mm`, which `generate` takes for decoding on a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from switchyard.errors import InputError
from switchyard.models.blocks import find_moe_blocks
from switchyard.models.used_experts import PACKED, is_packed
from switchyard.routing.attachment import attach
from switchyard.routing.experts import RAGGED

Timing = tuple[float | None, list[float]]
"""Seconds of a prefill, and milliseconds of each decoded token."""

NATIVE = ("grouped_mm", "batched_mm")
"""Implementations of the experts, by transformers' names, that the untouched model is timed with."""


def implementations(model: torch.nn.Module) -> tuple[str, ...]:
    """What the untouched model is timed with: `NATIVE`, or its own where its experts are packed."""
    return (PACKED,) if is_packed(find_moe_blocks(model)[0].experts) else NATIVE


COPIED_BYTES = 2**30
"""`batched_mm` copies the weights of every chosen expert of every token. Prefills that would copy more in a layer do
not run with it; a decoded token copies its own top-k only."""


def measure(
    model: torch.nn.Module,
    rules: Mapping[str, Any],
    token_ids: list[int],
    *,
    prefill_tokens: int,
    sequence_length: int = 256,
    **settings: Any,
) -> list[dict[str, Any]]:
    """One row per configuration: `tokens_per_second` of prefill, `latency_ms_per_token` of decode.

    `config` is None in the rows of the untouched model, after the others; `experts` says what ran them.
    `tokens_per_second` is None where a prefill did not run (`COPIED_BYTES`). Arguments are those of `timings`.
    """
    sizes = {"prefill_tokens": prefill_tokens, "sequence_length": sequence_length}
    found = timings(model, rules, token_ids, **sizes, **settings)
    length = min(sequence_length, _positions(model), prefill_tokens)
    return [_summary(*way, timed, prefill_tokens // length * length) for way, timed in found.items()]


def timings(
    model: torch.nn.Module,
    rules: Mapping[str, Any],
    token_ids: list[int],
    *,
    rounds: int,
    warmup_rounds: int,
    prefill_tokens: int,
    decode_tokens: int,
    untouched: Sequence[str] = (),
    lead: bool = False,
    own_when_full: bool = False,
    sequence_length: int = 256,
    prompt_tokens: int = 32,
    progress: Callable[[int], object] | None = None,
) -> dict[tuple[str | None, str], list[Timing]]:
    """Timings of each round, by configuration (None for the untouched model) and what ran its experts.

    Args:
        model: a Hugging Face causal language model in evaluation mode.
        rules: configuration name -> RoutingRule, or None for the model's own routing.
        token_ids: real text, long enough for the prefill; every configuration sees the same tokens.
        rounds: measured passes over all configurations.
        warmup_rounds: passes before them that are not counted.
        prefill_tokens: tokens of a prefill, cut into rows of `sequence_length`, or of the model's positions if fewer.
        decode_tokens: tokens decoded one by one after `prompt_tokens`, batch 1, with a key-value cache.
        untouched: implementations of the experts, as in `NATIVE`, with which the model is timed as it is.
        lead: whether as many tokens again are read before each timed prefill, for rules that remember what they saw;
            what is decoded follows on both, so that no text is read twice.
        own_when_full: whether rules that leave no slot empty run the model's own experts (`attach`).
        progress: called with 1 after each configuration of each round.

    Raises:
        InputError: no rounds, no rules, or too few tokens.
    """
    start = 2 * prefill_tokens if lead else 0  # of what is decoded
    needed = max(prefill_tokens, start + prompt_tokens + decode_tokens)
    _check(rules, token_ids, rounds, needed, prefill_tokens)
    sequence_length = min(sequence_length, _positions(model))
    prefill = _prefill_batch(token_ids, prefill_tokens, sequence_length).to(model.device)
    before = (
        _prefill_batch(token_ids[prefill_tokens:], prefill_tokens, sequence_length).to(model.device)
        if lead
        else None
    )
    prompt = torch.tensor([token_ids[start : start + prompt_tokens + decode_tokens]], device=model.device)
    ways = [(name, RAGGED) for name in rules] + [(None, experts) for experts in untouched]
    found: dict[tuple[str | None, str], list[Timing]] = {way: [] for way in ways}
    for number in range(warmup_rounds + rounds):
        turn = number % len(ways)
        for name, experts in ways[turn:] + ways[:turn]:
            if name is None:
                timing = _time_untouched(model, experts, prefill, prompt, prompt_tokens)
            else:
                with attach(model, rules[name], own_when_full=own_when_full):
                    if before is not None:
                        _time_prefill(model, before)
                    timing = _time_prefill(model, prefill), _time_decode(model, prompt, prompt_tokens)
            if number >= warmup_rounds:
                found[name, experts].append(timing)
            if progress is not None:
                progress(1)
    return found


def per_round(timed: Sequence[Timing]) -> dict[str, list[float]]:
    """`prefill_seconds`, and `decode_p50_ms`, `decode_p95_ms`, `decode_p99_ms` of a round's tokens, one per round."""
    ranks = np.array([np.percentile(decode, [50, 95, 99]) for _, decode in timed])
    columns = {
        f"decode_{name}_ms": ranks[:, place].tolist() for place, name in enumerate(("p50", "p95", "p99"))
    }
    return {"prefill_seconds": [seconds for seconds, _ in timed], **columns}


def _positions(model: Any) -> int:
    return model.config.get_text_config().max_position_embeddings


@contextmanager
def experts_run_by(model: Any, implementation: str) -> Iterator[None]:
    """Inside the `with` block the experts of an untouched model run by one of transformers' implementations."""
    before = model.get_experts_implementation()
    model.set_experts_implementation(implementation)
    try:
        yield
    finally:
        model.set_experts_implementation(before)


def _time_untouched(model: Any, experts: str, prefill: Tensor, prompt: Tensor, prompt_tokens: int) -> Timing:
    runs = experts != "batched_mm" or copied_bytes(model, prefill.numel()) <= COPIED_BYTES
    with experts_run_by(model, experts):
        seconds = _time_prefill(model, prefill) if runs else None
    prompted = implementations(model)[0]  # as `generate` has it: only the decoding is batched
    with experts_run_by(model, prompted):
        cache = _cache_of(model, prompt[:, :prompt_tokens])
    with experts_run_by(model, experts):
        return seconds, _time_steps(model, prompt[:, prompt_tokens:], cache)


def copied_bytes(model: Any, tokens: int) -> int:
    """Bytes of the weights that `batched_mm` copies in an MoE block for `tokens` tokens."""
    block = find_moe_blocks(model)[0]
    whole = sum(parameter.nbytes for parameter in block.experts.parameters())
    return tokens * model.config.get_text_config().num_experts_per_tok * whole // block.experts.num_experts


def _check(
    rules: Mapping[str, Any], token_ids: list[int], rounds: int, needed: int, prefill_tokens: int
) -> None:
    if not rules or rounds < 1 or prefill_tokens < 1:
        raise InputError("speed: nothing to measure; give a configuration, a round and a token at least")
    if len(token_ids) < needed:
        raise InputError(
            f"speed: {len(token_ids)} tokens of validation text, {needed} are needed; lower speed.prefill_tokens and "
            "speed.decode_tokens, or give calibration.validation more text"
        )


def _prefill_batch(token_ids: list[int], prefill_tokens: int, sequence_length: int) -> Tensor:
    """Rows of text [rows, length], as many whole rows as `prefill_tokens` allow."""
    length = min(sequence_length, prefill_tokens)
    rows = prefill_tokens // length
    return torch.tensor(token_ids[: rows * length]).view(rows, length)


@torch.inference_mode()
def _time_prefill(model: Any, input_ids: Tensor) -> float:
    with _Seconds(model) as seconds:
        model(input_ids=input_ids, use_cache=False, logits_to_keep=1)
    return seconds.value


def _time_decode(model: Any, input_ids: Tensor, prompt_tokens: int) -> list[float]:
    """Milliseconds of each token after the prompt; the text goes on as written, the same for all rules."""
    cache = _cache_of(model, input_ids[:, :prompt_tokens])
    return _time_steps(model, input_ids[:, prompt_tokens:], cache)


@torch.inference_mode()
def _cache_of(model: Any, input_ids: Tensor) -> Any:
    """The key-value cache of a prompt [1, time]."""
    return model(input_ids=input_ids, use_cache=True, logits_to_keep=1).past_key_values


@torch.inference_mode()
def _time_steps(model: Any, input_ids: Tensor, cache: Any) -> list[float]:
    """Milliseconds of each token of input_ids [1, time] after what is in the cache."""
    latencies = []
    for token in input_ids.split(1, dim=1):
        with _Seconds(model) as seconds:
            cache = model(input_ids=token, past_key_values=cache, use_cache=True).past_key_values
        latencies.append(1000 * seconds.value)
    return latencies


class _Seconds:
    """Seconds of a `with` block: the host's clock, or on a card the time between two events of its stream."""

    value = 0.0

    def __init__(self, model: Any) -> None:
        self._device: torch.device = model.device

    def __enter__(self) -> _Seconds:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            self._events[0].record()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *failure: object) -> None:
        self.value = time.perf_counter() - self._start
        if self._device.type == "cuda":
            self._events[1].record()
            torch.cuda.synchronize(self._device)
            self.value = self._events[0].elapsed_time(self._events[1]) / 1000


def _summary(name: str | None, experts: str, timings: list[Timing], prefill_tokens: int) -> dict[str, Any]:
    prefill_seconds = [seconds for seconds, _ in timings if seconds is not None]
    latencies = np.concatenate([decode for _, decode in timings])
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99]).tolist() if latencies.size else [None] * 3
    return {
        "config": name,
        "experts": experts,
        "tokens_per_second": prefill_tokens / float(np.median(prefill_seconds)) if prefill_seconds else None,
        "latency_ms_per_token": p50,
        "latency_p50_ms": p50,
        "latency_p95_ms": p95,
        "latency_p99_ms": p99,
        "rounds": len(timings),
        "prefill_tokens": prefill_tokens,
        "decoded_tokens": int(latencies.size),
    }
