"""Forwards that are timed: a prefill, or one token after a cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from switchyard.errors import InputError
from switchyard.profiling.points import DECODE, Point

VARIANTS = 4
"""Stretches of text that a workload reads in turn."""


class Workload:
    """The forward of a point on one model, again and again; a cache stays as long as it was.

    The text goes on from call to call through VARIANTS stretches, so that a rule that remembers what it saw does not
    see the same again at once.
    """

    def __init__(self, model: nn.Module, point: Point, token_ids: Sequence[int]) -> None:
        """`token_ids`: text; it begins again where it is too short.

        Raises:
            InputError: no text, or more positions than the model has.
        """
        whole = point.cache_length + point.length
        positions = model.config.get_text_config().max_position_embeddings
        if not token_ids or whole > positions:
            raise InputError(
                f"profile: {whole} tokens of a sequence and {len(token_ids)} tokens of text; the model has {positions} "
                "positions: lower profile.lengths and profile.cache_lengths, or give more text"
            )
        stretch = point.batch * whole
        text = torch.tensor(token_ids).repeat(-(-VARIANTS * stretch // len(token_ids)))[: VARIANTS * stretch]
        text = text.view(VARIANTS, point.batch, whole).to(model.device)
        self.model, self.point, self._cache, self._calls = model, point, None, 0
        self._new = text[:, :, point.cache_length :]  # int64 [variants, batch, length]
        if point.phase == DECODE:
            self._cache = DynamicCache(config=model.config)
            before = text[0, :, : point.cache_length]
            with torch.inference_mode():
                model(input_ids=before, past_key_values=self._cache, logits_to_keep=1)

    @property
    def ids(self) -> Tensor:
        """What the next call reads, int64 [batch, length]."""
        return self._new[self._calls % VARIANTS]

    @torch.inference_mode()
    def __call__(self) -> None:
        """One forward."""
        is_decode = self._cache is not None
        self.model(input_ids=self.ids, past_key_values=self._cache, use_cache=is_decode, logits_to_keep=1)
        self._calls += 1

    def reset(self) -> None:
        """Shorten the cache to what it was before the forward."""
        if self._cache is not None:
            self._cache.crop(-1)


def timed_ms(workload: Workload) -> float:
    """Milliseconds of a forward, by the host's clock; a GPU is waited for before and after."""
    wait(workload.model)
    start = time.perf_counter()
    workload()
    wait(workload.model)
    spent = 1000 * (time.perf_counter() - start)
    workload.reset()
    return spent


def wait(model: nn.Module) -> None:
    """Until the model's device has done what it was asked for."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)


def interleaved(
    calls: Mapping[str, Callable[[], Any]], rounds: int, *, warmup: int = 1
) -> dict[str, list[Any]]:
    """What each call answers in each round; they take turns, in an order that is rotated from round to round."""
    found: dict[str, list[Any]] = {name: [] for name in calls}
    names = list(calls)
    for number in range(warmup + rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            answer = calls[name]()
            if number >= warmup:
                found[name].append(answer)
    return found
