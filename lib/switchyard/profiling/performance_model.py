"""A model of a forward's time: what it works on, times what each of that costs on this machine.

    time = forward + tokens + pairs + products + attention + weights + cache        (the untouched model)
         + rule + rule_tokens                                                       (what a rule adds)

`forward` and `rule` are fixed, `tokens` and `rule_tokens` grow with the tokens, `pairs` with the chosen (token, expert)
pairs, `products` and `attention` with their operations, `weights` and `cache` with the bytes of weights touched and of
keys and values. Each phase has its own costs; none is below 0. They are fitted to the fitted points of the scaling
measurement by least squares of the relative error (Lawson and Hanson's non-negative algorithm). With other ceilings
than the measured ones the costs of operations and of bytes change in proportion, the others do not.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import nnls

from switchyard.errors import InputError
from switchyard.profiling.names import FIT, HELD_OUT, UNTOUCHED, VERIFY
from switchyard.profiling.points import DECODE, PHASES, PREFILL
from switchyard.profiling.scenario import Scenario, counts_of

FEATURES = ("forward", "tokens", "pairs", "products", "attention", "weights", "cache")
ADDED = ("rule", "rule_tokens")
BY_OPERATIONS, BY_BYTES = ("products", "attention"), ("weights", "cache")
"""Features whose cost follows from the ceilings of operations and of bytes."""
LIMITS = {"roadmap": 0.15, "criteria": 0.10}
"""Errors on held-out points that the source documents allow."""
BAND = 0.9
"""Share of the held-out speed-ups that lie within the band."""


class Prediction(NamedTuple):
    """A speed-up, the band about it, and why it is not to be believed where there is a reason."""

    speedup: float
    low: float
    high: float
    doubts: list[str]


@dataclass(frozen=True)
class PerformanceModel:
    """Fitted costs, in milliseconds for each unit of a feature (billions of operations or bytes, else one)."""

    structure: Mapping[str, Any]
    weight_bytes: int
    ceilings: Mapping[str, float]
    """`gflops`, `gbytes`, as measured."""
    costs: Mapping[str, Mapping[str, float]]
    """By phase and feature."""
    rules: Mapping[str, Mapping[str, Any]]
    """By name: `experts` and `learned_share`, as measured, `has_paths`, and by phase the `costs` of what it adds."""
    ranges: Mapping[str, Mapping[str, Sequence[float]]]
    """By phase and variable: least and most that was measured."""
    band: Mapping[str, float]
    """By phase: the factor by which speed-ups may be off."""

    def predict_latency(self, scenario: Scenario, rule: str = UNTOUCHED) -> float:
        """Milliseconds of the scenario's forward under a rule that was measured."""
        found = self._features(scenario, rule)
        costs = {**self.costs[scenario.phase], **self._added(rule)[scenario.phase]}
        costs = {name: cost * self._scale(name, scenario) for name, cost in costs.items()}
        return sum(costs[name] * found[name] for name in (*FEATURES, *ADDED))

    def predict_speedup(self, rule: str, **scenario: Any) -> Prediction:
        """How many times faster than the untouched model; arguments are those of `Scenario`, by default a decode.

        The untouched model has the scenario's sizes and its own top-k.
        """
        asked = Scenario(**{"phase": DECODE, "batch": 1, **scenario})
        ratio = self.predict_latency(asked) / self.predict_latency(asked, rule)
        factor = (
            math.inf if self.band[asked.phase] is None else self.band[asked.phase]
        )  # JSON has no infinity
        return Prediction(ratio, ratio / factor, ratio * factor, self.doubts(asked))

    def doubts(self, scenario: Scenario) -> list[str]:
        """What of the scenario lies outside what was measured."""
        found = []
        for name, (low, high) in self.ranges[scenario.phase].items():
            if not low <= getattr(scenario, name) <= high:
                found.append(
                    f"{name} {getattr(scenario, name):g} is outside the measured {low:g} to {high:g}"
                )
        for name in ("num_experts", "top_k", "hidden_size", "intermediate_size", "vocab_size"):
            given = getattr(scenario, name)
            if given is not None and given != self.structure[name]:
                found.append(f"{name} {given:g} was not measured, only {self.structure[name]:g}")
        for name in ("gflops", "gbytes"):
            given = getattr(scenario, name)
            if given is not None and given != self.ceilings[name]:
                found.append(f"{name} {given:g} is another machine's: fixed costs are this one's")
        return found

    def experts_of(self, scenario: Scenario, rule: str) -> tuple[float, float]:
        """Experts of a token, and the share of rows whose router runs."""
        top_k = scenario.top_k or self.structure["top_k"]
        if rule == UNTOUCHED:
            return top_k, 1.0
        measured = self._measured(rule)
        learned = measured["learned_share"] if scenario.hit_rate is None else 1.0 - scenario.hit_rate
        if scenario.experts is not None:
            return scenario.experts, learned
        used = measured["experts"] / self.structure["top_k"] * top_k
        if scenario.looked_up_experts is not None:
            used = learned * top_k + (1.0 - learned) * scenario.looked_up_experts
        return used, learned

    def as_json(self) -> dict[str, Any]:
        """What `from_json` and the calculator read."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> PerformanceModel:
        """The model of a `performance_model.json`.

        Raises:
            InputError: a field is missing.
        """
        if missing := [name for name in cls.__dataclass_fields__ if name not in content]:
            raise InputError(f"performance model: {missing[0]!r} is missing; profile the model again")
        return cls(**{name: content[name] for name in cls.__dataclass_fields__})

    def _features(self, scenario: Scenario, rule: str) -> dict[str, float]:
        experts, learned = self.experts_of(scenario, rule)
        return features(
            scenario, self.structure, experts=experts, learned=learned, weight_bytes=self.weight_bytes
        )

    def _added(self, rule: str) -> Mapping[str, Mapping[str, float]]:
        if rule == UNTOUCHED:
            return {phase: dict.fromkeys(ADDED, 0.0) for phase in PHASES}
        return self._measured(rule)["costs"]

    def _measured(self, rule: str) -> Mapping[str, Any]:
        if rule not in self.rules:
            raise InputError(f"predict: {rule!r} was not measured; name one of {', '.join(self.rules)}")
        return self.rules[rule]

    def _scale(self, name: str, scenario: Scenario) -> float:
        for ceiling, names in (("gflops", BY_OPERATIONS), ("gbytes", BY_BYTES)):
            given = getattr(scenario, ceiling)
            if name in names and given is not None:
                return self.ceilings[ceiling] / given
        return 1.0


def features(
    scenario: Scenario, structure: Mapping[str, Any], *, experts: float, learned: float, weight_bytes: int
) -> dict[str, float]:
    """What a forward works on, by FEATURES and ADDED."""
    counted = counts_of(scenario, structure, experts=experts, learned=learned, weight_bytes=weight_bytes)
    tokens = scenario.point.tokens
    scores = counted.flops["attention"]
    return {
        "forward": 1.0,
        "tokens": tokens,
        "pairs": tokens * experts * structure["num_layers"],
        "products": (counted.total_flops - scores) / 1e9,
        "attention": scores / 1e9,
        "weights": (counted.moved - counted.bytes["cache"] - counted.bytes["embedding"]) / 1e9,
        "cache": counted.bytes["cache"] / 1e9,
        "rule": 1.0,
        "rule_tokens": tokens,
    }


def fit(
    rows: Iterable[Mapping[str, Any]],
    structure: Mapping[str, Any],
    *,
    weight_bytes: int,
    ceilings: Mapping[str, float],
    with_paths: Collection[str] = (),
) -> PerformanceModel:
    """The model of the rows of the scaling measurement whose role is FIT; the band is of those held out.

    `with_paths` names the rules that look routes up.
    """
    rows = list(rows)
    names = [name for name in dict.fromkeys(row["rule"] for row in rows) if name != UNTOUCHED]
    costs, added = {}, {name: {} for name in names}
    for phase in PHASES:
        own = [row for row in rows if row["phase"] == phase and row["role"] == FIT]
        costs[phase], of_rules = _fit_phase(own, names, structure, weight_bytes)
        for name in names:
            added[name][phase] = of_rules[name]
    rules = {
        name: {**_usual(rows, name), "has_paths": name in with_paths, "costs": added[name]} for name in names
    }
    ranges = {phase: _ranges([row for row in rows if row["phase"] == phase]) for phase in PHASES}
    model = PerformanceModel(
        structure, weight_bytes, ceilings, costs, rules, ranges, dict.fromkeys(PHASES, 1.0)
    )
    band = {phase: _band([row for row in rows if row["phase"] == phase], model) for phase in PHASES}
    return PerformanceModel(structure, weight_bytes, ceilings, costs, rules, ranges, band)


def scenario_of(row: Mapping[str, Any]) -> Scenario:
    """The forward of a measured row."""
    return Scenario(**{name: row[name] for name in ("phase", "batch", "length", "cache_length")})


def predicted(rows: Iterable[Mapping[str, Any]], model: PerformanceModel) -> list[dict[str, Any]]:
    """Each row with `predicted_ms`, from the rule's usual number of experts, and `error`, relative to the median."""
    found = []
    for row in rows:
        expected = model.predict_latency(scenario_of(row), row["rule"])
        found.append({**row, "predicted_ms": expected, "error": expected / row["median_ms"] - 1})
    return found


def errors(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean, median and largest absolute error of `predicted` rows by phase and role, beside the LIMITS.

    `repeatability` is the median half width of the measurements' own intervals, None without intervals.
    """
    rows, found = list(rows), []
    for phase in PHASES:
        for role in (FIT, HELD_OUT, VERIFY):
            own = [row for row in rows if (row["phase"], row["role"]) == (phase, role)]
            if not own:
                continue
            off = [abs(row["error"]) for row in own]
            mean = float(np.mean(off))
            found.append(
                {
                    "phase": phase,
                    "role": role,
                    "points": len(own),
                    "mean": mean,
                    "median": float(np.median(off)),
                    "largest": max(off),
                    "repeatability": _repeatability(own),
                    "within": {name: mean <= limit for name, limit in LIMITS.items()},
                }
            )
    return found


def _fit_phase(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], structure: Mapping[str, Any], weight_bytes: int
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    columns = [*FEATURES, *((name, one) for name in names for one in ADDED)]
    matrix = np.zeros((len(rows), len(columns)))
    for place, row in enumerate(rows):
        worked = features(
            scenario_of(row),
            structure,
            experts=row["experts"],
            learned=row["learned_share"],
            weight_bytes=weight_bytes,
        )
        own = {name: worked[name] for name in FEATURES}
        own |= {(row["rule"], one): worked[one] for one in ADDED if row["rule"] != UNTOUCHED}
        matrix[place] = [own.get(column, 0.0) / row["median_ms"] for column in columns]
    scale = np.maximum(np.abs(matrix).max(axis=0), 1e-300)
    solved, _ = nnls(matrix / scale, np.ones(len(rows)))
    costs = dict(zip(columns, (solved / scale).tolist(), strict=True))
    return {name: costs[name] for name in FEATURES}, {
        name: {one: costs[name, one] for one in ADDED} for name in names
    }


def _usual(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    """Experts and learned share of a rule over all measured tokens."""
    own = [row for row in rows if row["rule"] == name]
    tokens = [row["batch"] * row["length"] for row in own]
    return {
        key: float(np.average([row[key] for row in own], weights=tokens))
        for key in ("experts", "learned_share")
    }


def _ranges(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    own = ("batch", "length") if rows[0]["phase"] == PREFILL else ("batch", "cache_length")
    return {name: [min(row[name] for row in rows), max(row[name] for row in rows)] for name in own}


def _band(rows: Sequence[Mapping[str, Any]], model: PerformanceModel) -> float:
    """The factor that BAND of the held-out speed-ups are within."""
    off = []
    for row in rows:
        if row["role"] == HELD_OUT and row["rule"] != UNTOUCHED:
            asked = scenario_of(row)
            expected = model.predict_latency(asked) / model.predict_latency(asked, row["rule"])
            off.append(abs(math.log(expected / row["speedup"])))
    return math.exp(float(np.quantile(off, BAND))) if off else math.inf


def _repeatability(rows: Sequence[Mapping[str, Any]]) -> float | None:
    widths = [
        (row["high_ms"] - row["low_ms"]) / 2 / row["median_ms"] for row in rows if row["low_ms"] is not None
    ]
    return float(np.median(widths)) if widths else None
