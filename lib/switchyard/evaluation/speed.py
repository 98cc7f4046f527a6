"""Speed of routing rules side by side: prefill throughput and decode latency, without traces.

All configurations are measured in one process, one after the other in every round and in a rotated order, so that
a machine that slows down slows them all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from switchyard.errors import InputError
from switchyard.routing.attachment import attach

Timing = tuple[float, list[float]]
"""Seconds of a prefill, and milliseconds of each decoded token."""


def measure(
    model: torch.nn.Module,
    rules: Mapping[str, Any],
    token_ids: list[int],
    *,
    rounds: int,
    warmup_rounds: int,
    prefill_tokens: int,
    decode_tokens: int,
    sequence_length: int = 256,
    prompt_tokens: int = 32,
    progress: Callable[[int], object] | None = None,
) -> list[dict[str, Any]]:
    """One row per configuration: `tokens_per_second` of prefill, `latency_ms_per_token` of decode.

    Args:
        model: a Hugging Face causal language model in evaluation mode.
        rules: configuration name -> RoutingRule, or None for the untouched model.
        token_ids: real text, long enough for the prefill; every configuration sees the same tokens.
        rounds: measured passes over all configurations.
        warmup_rounds: passes before them that are not counted.
        prefill_tokens: tokens of a prefill, cut into rows of `sequence_length`, or of the model's positions if fewer.
        decode_tokens: tokens decoded one by one after `prompt_tokens`, batch 1, with a key-value cache.
        progress: called with 1 after each configuration of each round.

    Raises:
        InputError: no rounds, no rules, or too few tokens.
    """
    _check(rules, token_ids, rounds, max(prefill_tokens, prompt_tokens + decode_tokens), prefill_tokens)
    sequence_length = min(sequence_length, model.config.get_text_config().max_position_embeddings)
    prefill = _prefill_batch(token_ids, prefill_tokens, sequence_length).to(model.device)
    prompt = torch.tensor([token_ids[: prompt_tokens + decode_tokens]], device=model.device)
    timings: dict[str, list[Timing]] = {name: [] for name in rules}
    names = list(rules)
    for number in range(warmup_rounds + rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            with attach(model, rules[name], own_when_full=False):  # one code path for all rules
                timing = _time_prefill(model, prefill), _time_decode(model, prompt, prompt_tokens)
            if number >= warmup_rounds:
                timings[name].append(timing)
            if progress is not None:
                progress(1)
    return [_summary(name, timings[name], prefill.numel()) for name in names]


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
    _wait(model)
    start = time.perf_counter()
    model(input_ids=input_ids, use_cache=False, logits_to_keep=1)
    _wait(model)
    return time.perf_counter() - start


@torch.inference_mode()
def _time_decode(model: Any, input_ids: Tensor, prompt_tokens: int) -> list[float]:
    """Milliseconds of each token after the prompt; the text goes on as written, the same for all rules."""
    cache = model(input_ids=input_ids[:, :prompt_tokens], use_cache=True, logits_to_keep=1).past_key_values
    latencies = []
    for position in range(prompt_tokens, input_ids.shape[1]):
        _wait(model)
        start = time.perf_counter()
        token = input_ids[:, position : position + 1]
        cache = model(input_ids=token, past_key_values=cache, use_cache=True).past_key_values
        _wait(model)
        latencies.append(1000 * (time.perf_counter() - start))
    return latencies


def _wait(model: Any) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)


def _summary(name: str, timings: list[Timing], prefill_tokens: int) -> dict[str, Any]:
    prefill_seconds = [seconds for seconds, _ in timings]
    latencies = np.concatenate([decode for _, decode in timings])
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99]).tolist() if latencies.size else [None] * 3
    return {
        "config": name,
        "tokens_per_second": prefill_tokens / float(np.median(prefill_seconds)),
        "latency_ms_per_token": p50,
        "latency_p50_ms": p50,
        "latency_p95_ms": p95,
        "latency_p99_ms": p99,
        "rounds": len(timings),
        "prefill_tokens": prefill_tokens,
        "decoded_tokens": int(latencies.size),
    }
