"""What a rule's part of a forward is made of: the steps of BH and VAR, timed alone on what the model gave them.

No hook sees inside a rule. Its steps are timed on the same logits and tokens outside the forward, and the time that
the rule took inside it is divided by them; where they take less than it, the rest keeps the name of the whole.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from switchyard.models.blocks import find_moe_blocks
from switchyard.profiling.names import (
    AFTER,
    CACHE,
    EXPERTS,
    HASH,
    LEARNED,
    LOOK_UP,
    P_VALUES,
    RULE,
    SORT,
    TABLE,
    WRITE,
)
from switchyard.profiling.subjects import Subject
from switchyard.profiling.workloads import Workload
from switchyard.routing.adaptive import AdaptiveRule
from switchyard.routing.ranking import rank
from switchyard.routing.rows import Rows
from switchyard.var.cache import make_keys

REPEATS = 9

Parts = dict[str, dict[str, float]]
"""Milliseconds in a forward of the steps of each part."""


def divided(
    measured: Mapping[str, float], parts: Parts, expert_shares: Mapping[str, float]
) -> dict[str, float]:
    """`measured` milliseconds by part with the rule's and the experts' parts divided.

    Args:
        measured: of one forward.
        parts: what `steps_of` found.
        expert_shares: of the time of the experts, by step; their sum is 1.
    """
    found: dict[str, float] = {}
    for name, spent in measured.items():
        inside = parts.get(name, {})
        if name == EXPERTS:
            inside = {step: share * spent for step, share in expert_shares.items()}
        factor = min(1.0, spent / whole) if (whole := sum(inside.values())) else 1.0
        shares = {step: factor * own for step, own in inside.items()}
        rest = {} if name == EXPERTS and inside else {name: spent - sum(shares.values())}
        for step, own in (shares | rest).items():
            found[step] = found.get(step, 0.0) + own
    return found


def steps_of(subject: Subject, workload: Workload) -> Parts:
    """Milliseconds of the steps of the rule's parts in one forward of the workload; empty for a rule without steps."""
    rule, seen = subject.rule, _logits(subject, workload)
    if isinstance(rule, AdaptiveRule):
        return {RULE: _adaptive(rule, seen)}
    if getattr(rule, "has_paths", False):
        needs = rule.rows_needed(0, _context(rule, workload))
        return {LOOK_UP if needs is not None else RULE: _look_up(rule, workload)}
    return {}


def named(subject: Subject, measured: Mapping[str, float]) -> dict[str, float]:
    """The parts by what they are for the rule: VAR's selection is its learned routing, its last step the cache's."""
    if not getattr(subject.rule, "has_paths", False):
        return dict(measured)
    return {{RULE: LEARNED, AFTER: WRITE}.get(name, name): spent for name, spent in measured.items()}


@torch.inference_mode()
def _adaptive(rule: AdaptiveRule, seen: list[Tensor]) -> dict[str, float]:
    sort = test = 0.0
    for layer, logits in enumerate(seen):
        ranked, order = rank(logits)
        sort += _median_ms(partial(rank, logits))
        test += _median_ms(partial(rule.num_experts, logits, ranked, order, layer))
    return {SORT: sort, P_VALUES: test}


@torch.inference_mode()
def _look_up(rule: Any, workload: Workload) -> dict[str, float]:
    """Of all layers: the first layer of a forward looks up for all of a device.

    Asking changes nothing that the rule remembers: only a whole forward does.
    """

    def ask(contexts: list[Any]) -> float:
        pending = iter(contexts)
        return _median_ms(lambda: rule.rows_needed(0, next(pending)), len(contexts))

    contexts = [_context(rule, workload) for _ in range(2 * REPEATS)]
    whole = ask(contexts[:REPEATS])
    with rule.cache_off():
        table = ask(contexts[REPEATS:])
    if not rule.config.cache_size:
        return {TABLE: whole}
    hashed = _median_ms(lambda: make_keys(contexts[0], rule.context_window))
    return {HASH: hashed, TABLE: table, CACHE: max(whole - table - hashed, 0.0)}


def _context(rule: Any, workload: Workload) -> Any:
    rows = Rows(rule.context_window)
    rows.take((), {"input_ids": workload.ids})
    return rows.context(workload.ids.device)


def _logits(subject: Subject, workload: Workload) -> list[Tensor]:
    """Router logits [tokens, experts] of each MoE block in one forward."""
    seen: list[Tensor] = []
    hooks = [
        block.router.register_forward_hook(lambda module, given, answer: seen.append(answer[0]))
        for block in find_moe_blocks(subject.model)
    ]
    workload()
    workload.reset()
    for hook in hooks:
        hook.remove()
    return seen


def _median_ms(call: Callable[[], object], repeats: int = REPEATS) -> float:
    spent = []
    for _ in range(repeats):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        spent.append(1000 * (time.perf_counter() - start))
    return statistics.median(spent)
