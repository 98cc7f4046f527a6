"""Time of a forward by length, batch and cache: every rule beside the untouched model, in the same rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import t as student
from torch import Tensor, nn

from switchyard.errors import InputError
from switchyard.models.blocks import find_moe_blocks
from switchyard.profiling.counts import expected_distinct
from switchyard.profiling.intervals import median
from switchyard.profiling.names import FIT, HELD_OUT, UNTOUCHED
from switchyard.profiling.points import DECODE, PREFILL, Point, decode, prefill
from switchyard.profiling.subjects import Subject, subjects
from switchyard.profiling.workloads import Workload, interleaved, timed_ms

VISITS = 3
"""Times that each point is visited. Its rounds are spread over them, so that what disturbs the machine for seconds
spoils a minority of a point's rounds, which the median passes over."""


def grid(
    lengths: Sequence[int],
    batches: Sequence[int],
    cache_lengths: Sequence[int],
    *,
    positions: int,
    most_tokens: int,
) -> dict[Point, str]:
    """Points of both phases with their roles; a third is held out, and none of the corners.

    Lengths beyond the model's positions, and forwards of more than `most_tokens` tokens, are left out.

    Raises:
        InputError: nothing is left to fit one of the phases.
    """
    found: dict[Point, str] = {}
    for phase, make, sizes in ((PREFILL, prefill, lengths), (DECODE, decode, cache_lengths)):
        kept = [size for size in sorted(sizes) if size + (phase == DECODE) <= positions]
        for column, size in enumerate(kept):
            fitting = [one for one in sorted(batches) if make(one, size).tokens <= most_tokens]
            for row, batch in enumerate(fitting):
                is_end = column in (0, len(kept) - 1) and row in (0, len(fitting) - 1)
                held = (column + 2 * row) % 3 == 1 and not is_end
                found[make(batch, size)] = HELD_OUT if held else FIT
    for phase in (PREFILL, DECODE):
        if sum(point.phase == phase for point in found) < 2:
            raise InputError(
                f"profile: fewer than two points of {phase} fit in {positions} positions and {most_tokens} tokens of a "
                "forward; give shorter lengths or fewer sequences"
            )
    return found


def measure_scaling(
    model: nn.Module,
    rules: Mapping[str, Any],
    points: Mapping[Point, str],
    token_ids: Sequence[int],
    *,
    rounds: int,
    progress: Callable[[int], object] | None = None,
) -> list[dict[str, Any]]:
    """A row for each point and rule: median and interval, speed-up over the untouched model, paired by round.

    All points are visited in turn, up to VISITS times; `progress` is called with 1 after each visit.
    `experts` and `distinct` are what a forward of the rule used, means over the MoE blocks; `learned_share` is the
    share of rows whose router ran. An interval is None for fewer than six rounds.
    """
    names, report = [UNTOUCHED, *rules], progress or (lambda _: None)
    used: dict[Point, dict[str, dict[str, float]]] = {}
    times: dict[Point, dict[str, list[float]]] = {point: {name: [] for name in names} for point in points}
    with subjects(model, rules) as compared:
        for share in visits(rounds):
            for point in points:
                runs = {one.name: Workload(one.model, point, token_ids) for one in compared}
                if point not in used:
                    used[point] = {one.name: routed(one, runs[one.name]) for one in compared}
                found = interleaved({name: partial(timed_ms, run) for name, run in runs.items()}, share)
                for name in names:
                    times[point][name] += found[name]
                report(1)
    return [
        _row(name, point, role, times[point], used[point][name])
        for point, role in points.items()
        for name in names
    ]


def visits(rounds: int) -> list[int]:
    """Rounds of each visit to a point."""
    number = min(VISITS, rounds)
    return [rounds // number + (visit < rounds % number) for visit in range(number)]


def routed(subject: Subject, workload: Workload) -> dict[str, float]:
    """What one forward uses: `experts` of a token, `distinct` experts of a block, and the `learned_share`."""
    blocks = find_moe_blocks(subject.model)
    seen: list[Tensor] = []
    hooks = [
        block.router.register_forward_hook(lambda module, given, answer: seen.append(answer[2]))
        for block in blocks
    ]
    before = _learned(subject)
    workload()
    workload.reset()
    after = _learned(subject)
    for hook in hooks:
        hook.remove()
    experts = blocks[0].num_experts
    kept = [index[index < experts] for index in seen]
    rows = sum(len(index) for index in seen)
    mean = sum(index.numel() for index in kept) / rows
    return {
        "experts": mean,
        "distinct": sum(index.unique().numel() for index in kept) / len(kept),
        "expected_distinct": expected_distinct(experts, mean, rows / len(seen)),
        "learned_share": (after[0] - before[0]) / (after[1] - before[1]) if after[1] > before[1] else 1.0,
    }


def growth(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Order of growth of the median in each variable where it varies alone at the least of the others.

    `order` is the slope of its logarithm on the variable's, with a 95 % interval for three points or more.
    """
    found, rows = [], list(rows)
    variables = {(PREFILL, "length"): "batch", (PREFILL, "batch"): "length"}
    variables |= {(DECODE, "cache_length"): "batch", (DECODE, "batch"): "cache_length"}
    for rule in dict.fromkeys(row["rule"] for row in rows):
        for (phase, variable), other in variables.items():
            own = [row for row in rows if (row["rule"], row["phase"]) == (rule, phase)]
            own = [row for row in own if row[other] == min(one[other] for one in own)]
            own = [row for row in own if row[variable] > 0]
            if len({row[variable] for row in own}) > 1:
                slope = _slope([row[variable] for row in own], [row["median_ms"] for row in own])
                found.append({"rule": rule, "phase": phase, "variable": variable, **slope})
    return found


def _slope(x: Sequence[float], y: Sequence[float]) -> dict[str, float | None]:
    across, up = np.log(x), np.log(y)
    centred = across - across.mean()
    order = float(centred @ up / (centred @ centred))
    free = len(across) - 2
    if free < 1:
        return {"order": order, "low": None, "high": None}
    rest = up - up.mean() - order * centred
    error = float(student.ppf(0.975, free) * np.sqrt(rest @ rest / free / (centred @ centred)))
    return {"order": order, "low": order - error, "high": order + error}


def _learned(subject: Subject) -> tuple[float, float]:
    """Learned calls and all calls of a rule with paths since its start; (0, 0) for one without."""
    rule = subject.rule
    if not getattr(rule, "has_paths", False) or rule.config.route_weights == "live":
        return 0.0, 0.0
    overall = rule.performance_stats()["overall"]
    calls = overall["total_calls"]
    return overall["routing_distribution"]["learned"] / 100 * calls, calls


def _row(
    rule: str, point: Point, role: str, times: Mapping[str, Sequence[float]], used: Mapping[str, float]
) -> dict[str, Any]:
    spent, ratio = (
        median(times[rule]),
        median([native / own for native, own in zip(times[UNTOUCHED], times[rule], strict=True)]),
    )
    return {
        "rule": rule,
        "phase": point.phase,
        "batch": point.batch,
        "length": point.length,
        "cache_length": point.cache_length,
        "role": role,
        "rounds": len(times[rule]),
        "median_ms": spent.value,
        "low_ms": spent.low,
        "high_ms": spent.high,
        "tokens_per_second": 1000 * point.tokens / spent.value,
        "speedup": ratio.value,
        "speedup_low": ratio.low,
        "speedup_high": ratio.high,
        **used,
    }
