"""Time of the components of a forward under each rule, beside the same forward without instruments."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from switchyard.profiling.clock import Clock
from switchyard.profiling.instruments import Observed, instrument
from switchyard.profiling.names import OTHER, UNTOUCHED
from switchyard.profiling.operators import device_use_of, expert_shares, operator_rows, profiled
from switchyard.profiling.points import Point
from switchyard.profiling.splits import divided, named, steps_of
from switchyard.profiling.subjects import Subject, subjects
from switchyard.profiling.workloads import Workload, interleaved, timed_ms

COLUMNS = ["rule", "phase", "component", "mean_ms", "std_ms", "p50_ms", "p95_ms", "p99_ms"]
COLUMNS += ["total_ms", "percentage"]


class Components(NamedTuple):
    """What `measure_components` found."""

    rows: list[dict[str, Any]]
    """COLUMNS; `percentage` is of the sum of a rule's components in a phase."""
    operators: list[dict[str, Any]]
    """`switchyard.profiling.operators.COLUMNS`."""
    instruments: list[dict[str, Any]]
    """`rule, phase, batch, length, cache_length, instrumented_over_plain, named_share`, medians over the rounds."""
    device_use: list[dict[str, Any]]
    """`rule, phase, idle_share, launch_share` on a card; empty on a CPU."""


def measure_components(
    model: nn.Module,
    rules: Mapping[str, Any],
    points: Sequence[Point],
    token_ids: Sequence[int],
    *,
    rounds: int,
    operators: int = 12,
) -> Components:
    """Component times of the untouched model and of each rule at each point, all of a point interleaved.

    Args:
        model: a Hugging Face causal language model in evaluation mode.
        rules: routing rules by name.
        points: one of each phase.
        token_ids: text for the forwards.
        rounds: forwards of each, with instruments and without.
        operators: rows of the table of operators for each rule and point.
    """
    found = Components([], [], [], [])
    for point in points:
        clocks = {name: Clock(model.device) for name in (UNTOUCHED, *rules)}
        with ExitStack() as stack:
            plain = stack.enter_context(subjects(model, rules))
            watched = stack.enter_context(
                subjects(model, {name: Observed(rule, clocks[name]) for name, rule in rules.items()})
            )
            _measure(plain, watched, clocks, point, token_ids, rounds, operators, found)
    return found


def _measure(
    plain: Sequence[Subject],
    watched: Sequence[Subject],
    clocks: Mapping[str, Clock],
    point: Point,
    token_ids: Sequence[int],
    rounds: int,
    operators: int,
    found: Components,
) -> None:
    own = {one.name: Workload(one.model, point, token_ids) for one in plain}
    other = {one.name: Workload(one.model, point, token_ids) for one in watched}
    with ExitStack() as stack:
        for one in watched:
            stack.enter_context(instrument(one.model, clocks[one.name]))
        calls = {("plain", name): partial(timed_ms, workload) for name, workload in own.items()}
        calls |= {
            ("watched", name): partial(_watched, workload, clocks[name]) for name, workload in other.items()
        }
        times = interleaved(calls, rounds)
    for one in plain:
        profile = profiled(one, own[one.name])
        shares, steps = expert_shares(profile.events()), steps_of(one, own[one.name])
        forwards = [named(one, divided(parts, steps, shares)) for _, parts in times["watched", one.name]]
        found.rows.extend(component_rows(one.name, point.phase, forwards))
        found.operators.extend(operator_rows(profile, one.name, point.phase, most=operators))
        if use := device_use_of(profile):
            found.device_use.append({"rule": one.name, "phase": point.phase, **use})
        ratios = [
            whole / alone
            for (whole, _), alone in zip(times["watched", one.name], times["plain", one.name], strict=True)
        ]
        shares_named = [
            1 - parts.get(OTHER, 0.0) / sum(parts.values()) for _, parts in times["watched", one.name]
        ]
        found.instruments.append(
            {
                "rule": one.name,
                "phase": point.phase,
                "batch": point.batch,
                "length": point.length,
                "cache_length": point.cache_length,
                "instrumented_over_plain": statistics.median(ratios),
                "named_share": statistics.median(shares_named),
            }
        )


def _watched(workload: Workload, clock: Clock) -> tuple[float, dict[str, float]]:
    """Milliseconds of a forward with instruments, and of its parts."""
    clock.take()
    return timed_ms(workload), clock.take()


def component_rows(rule: str, phase: str, forwards: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    """Rows of the table from the milliseconds of each component in each forward; one that is absent took none."""
    names = list(dict.fromkeys(name for parts in forwards for name in parts))
    spent = {name: np.array([parts.get(name, 0.0) for parts in forwards]) for name in names}
    whole = sum(float(times.sum()) for times in spent.values())
    return [
        {
            "rule": rule,
            "phase": phase,
            "component": name,
            "mean_ms": float(times.mean()),
            "std_ms": float(times.std()),
            **{f"p{one}_ms": float(np.percentile(times, one)) for one in (50, 95, 99)},
            "total_ms": float(times.sum()),
            "percentage": 100 * float(times.sum()) / whole,
        }
        for name, times in spent.items()
    ]
