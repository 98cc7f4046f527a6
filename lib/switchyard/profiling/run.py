"""The whole profile of a model: measured, fitted, predicted, then measured again where it was predicted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, Self

import pandas as pd
from torch import nn

from switchyard.models.blocks import describe
from switchyard.profiling.bottlenecks import bottlenecks
from switchyard.profiling.break_even import break_evens, curves
from switchyard.profiling.ceilings import measure_ceilings
from switchyard.profiling.components import measure_components
from switchyard.profiling.latency import compared
from switchyard.profiling.names import UNTOUCHED, VERIFY
from switchyard.profiling.overhead import overheads
from switchyard.profiling.performance_model import PerformanceModel, errors, fit, predicted, scenario_of
from switchyard.profiling.points import DECODE, PREFILL, Point, decode, prefill
from switchyard.profiling.roofline import roofline
from switchyard.profiling.samples import measure_latencies
from switchyard.profiling.scaling import grid, growth, measure_scaling, visits


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured, and how often; as `profile` of the configuration."""

    lengths: Sequence[int] = (32, 128, 512)
    """New tokens of a sequence in a prefill."""
    batches: Sequence[int] = (1, 2, 4, 8)
    cache_lengths: Sequence[int] = (32, 128, 448)
    """Tokens in the cache of a decoded token."""
    max_tokens: int = 4096
    """Of a forward; larger ones are left out."""
    rounds: int = 7
    component_rounds: int = 30
    latency_samples: int = 200
    operators: int = 12
    """Rows of the table of operators for each rule and phase."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """From a section of the configuration that may hold more."""
        return cls(**{one.name: given[one.name] for one in fields(cls)})


class Profile(NamedTuple):
    """All of it, as it is written."""

    components: pd.DataFrame
    operators: pd.DataFrame
    scaling: pd.DataFrame
    roofline: pd.DataFrame
    latency: pd.DataFrame
    overhead: dict[str, Any]
    performance_model: dict[str, Any]


def profile(
    model: nn.Module,
    rules: Mapping[str, Any],
    token_ids: Sequence[int],
    settings: Settings,
    *,
    progress: Callable[[int], object] | None = None,
) -> Profile:
    """Profile a model under each of the rules, beside the untouched model.

    Args:
        model: a Hugging Face causal language model in evaluation mode.
        rules: by name.
        token_ids: text to feed.
        settings: see there.
        progress: called with 1 after each of `steps(model, settings)`.
    """
    report = progress or (lambda _: None)
    structure, parameter = describe(model.config), next(model.parameters())
    ceilings = measure_ceilings(model.device, parameter.dtype)._asdict()
    report(1)
    points = points_of(model, settings)
    given = (model, rules, points, token_ids)
    scaling = measure_scaling(*given, rounds=settings.rounds, progress=report)
    fitted = fit(
        scaling,
        structure,
        weight_bytes=parameter.element_size(),
        ceilings=ceilings,
        with_paths=[name for name, rule in rules.items() if getattr(rule, "has_paths", False)],
    )
    scaling += verify(fitted, model, rules, points, token_ids, settings.rounds)
    report(1)
    usual = usual_points(model, settings)
    components = measure_components(
        model, rules, usual, token_ids, rounds=settings.component_rounds, operators=settings.operators
    )
    report(1)
    latency = measure_latencies(model, rules, usual, token_ids, samples=settings.latency_samples)
    report(1)
    return _written(fitted, predicted(scaling, fitted), components, latency)


def steps(model: nn.Module, settings: Settings) -> int:
    """How often `profile` reports progress."""
    return 4 + len(points_of(model, settings)) * len(visits(settings.rounds))


def points_of(model: nn.Module, settings: Settings) -> dict[Point, str]:
    """The points of the scaling measurement with their roles."""
    positions = model.config.get_text_config().max_position_embeddings
    sizes = (settings.lengths, settings.batches, settings.cache_lengths)
    return grid(*sizes, positions=positions, most_tokens=settings.max_tokens)


def usual_points(model: nn.Module, settings: Settings) -> list[Point]:
    """A point of each phase, of batch 1 at the middle length: where components and latencies are measured."""
    points = points_of(model, settings)
    return [_middle(points, phase) for phase in (PREFILL, DECODE)]


def verify(
    fitted: PerformanceModel,
    model: nn.Module,
    rules: Mapping[str, Any],
    points: Mapping[Point, str],
    token_ids: Sequence[int],
    rounds: int,
) -> list[dict[str, Any]]:
    """Rows of the scaling measurement at points between those of the grid, each with the `forecast_ms` made before."""
    new = dict.fromkeys(between(points), VERIFY)
    forecast = {
        (point, name): fitted.predict_latency(scenario_of(asdict(point)), name)
        for point in new
        for name in (UNTOUCHED, *rules)
    }
    rows = measure_scaling(model, rules, new, token_ids, rounds=rounds)
    for row in rows:
        point = Point(*(row[name] for name in ("phase", "batch", "length", "cache_length")))
        row["forecast_ms"] = forecast[point, row["rule"]]
    return rows


def between(points: Mapping[Point, str]) -> list[Point]:
    """A point of each phase between the batches and the lengths of the grid, where it leaves room for one."""
    found = []
    for phase, make, name in ((PREFILL, prefill, "length"), (DECODE, decode, "cache_length")):
        own = [point for point in points if point.phase == phase]
        batches, sizes = ({getattr(point, one) for point in own} for one in ("batch", name))
        new = make(_between(batches), _between(sizes))
        if new not in points:
            found.append(new)
    return found


def _between(values: set[int]) -> int:
    """Between the two middle values."""
    ordered = sorted(values)
    place = max(len(ordered) // 2, 1)
    low, high = ordered[max(place - 1, 0)], ordered[min(place, len(ordered) - 1)]
    return (low + high) // 2 if high - low > 1 or low == high else high


def _middle(points: Mapping[Point, str], phase: str) -> Point:
    """Batch 1 at the middle length."""
    least = min(point.batch for point in points if point.phase == phase)
    own = sorted(
        (point.length, point.cache_length) for point in points if (point.phase, point.batch) == (phase, least)
    )
    return Point(phase, least, *own[len(own) // 2])


def _written(
    fitted: PerformanceModel, scaling: list[dict], components: Any, latency: pd.DataFrame
) -> Profile:
    grid_rows = [row for row in scaling if row["role"] != VERIFY]
    added, orders = overheads(components.rows), growth(grid_rows)
    roof = roofline(scaling, fitted.structure, fitted.ceilings, weight_bytes=fitted.weight_bytes)
    shapes = curves(fitted)
    found = bottlenecks(components.rows, added, roof, compared(latency), orders, components.device_use)
    fitted_model = {
        **fitted.as_json(),
        "errors": errors(scaling),
        "verification": [row for row in scaling if row["role"] == VERIFY],
        "growth": orders,
        "curves": shapes,
        "break_even": break_evens(shapes),
        "bottlenecks": found,
    }
    return Profile(
        pd.DataFrame(components.rows),
        pd.DataFrame(components.operators),
        pd.DataFrame(scaling).drop(columns="forecast_ms", errors="ignore"),
        pd.DataFrame(roof),
        latency,
        {"overheads": added, "instruments": components.instruments, "device_use": components.device_use},
        fitted_model,
    )
