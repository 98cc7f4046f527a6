"""Scaling, roofline and the performance model, on made-up measurements."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from reference.profiling import naive_counts
from reference.tiny import tiny_model
from switchyard.errors import InputError
from switchyard.models.structure import structure
from switchyard.profiling.intervals import quantile
from switchyard.profiling.names import FIT, HELD_OUT
from switchyard.profiling.performance_model import (
    PerformanceModel,
    errors,
    features,
    fit,
    predicted,
    scenario_of,
)
from switchyard.profiling.points import DECODE, PREFILL, decode, prefill
from switchyard.profiling.roofline import WATERFALL, roofline
from switchyard.profiling.scaling import grid, growth, measure_scaling, visits
from switchyard.profiling.scenario import Scenario
from unit.profiling.test_instruments import bh_rule, var_rule

MODEL = structure(
    {"model_type": "olmoe", "num_experts": 16, "num_experts_per_tok": 4, "hidden_size": 64, "intermediate_size": 32,
     "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 300, "max_position_embeddings": 512}
)  # fmt: skip
CEILINGS = {"gflops": 50.0, "gbytes": 10.0}
COSTS = {"forward": 0.4, "tokens": 1e-3, "pairs": 2e-5, "products": 30.0, "attention": 20.0, "weights": 90.0,
         "cache": 100.0}  # fmt: skip
ADDED = {"rule": 0.2, "rule_tokens": 5e-4}


def made_up_rows(noise: float = 0.0) -> list[dict]:
    """Rows whose times are exactly what COSTS say, but for `noise`."""
    draw, rows = np.random.default_rng(0), []
    points = grid([8, 64, 256], [1, 2, 4, 8], [16, 128, 400], positions=512, most_tokens=4096)
    for (point, role), (rule, experts, learned) in itertools.product(
        points.items(), [("untouched", 4.0, 1.0), ("bh", 2.5, 1.0), ("var", 4.0, 0.5)]
    ):
        row = {"rule": rule, "phase": point.phase, "batch": point.batch, "length": point.length}
        row |= {
            "cache_length": point.cache_length,
            "role": role,
            "experts": experts,
            "learned_share": learned,
        }
        worked = features(scenario_of(row), MODEL, experts=experts, learned=learned, weight_bytes=4)
        costs = COSTS | (ADDED if rule != "untouched" else dict.fromkeys(ADDED, 0.0))
        spent = sum(costs[name] * worked[name] for name in costs) * math.exp(draw.normal(0, noise))
        rows.append(
            row | {"median_ms": spent, "low_ms": 0.9 * spent, "high_ms": 1.1 * spent, "distinct": 9.0}
        )
    for row in rows:
        native = next(
            one for one in rows if one["rule"] == "untouched" and scenario_of(one) == scenario_of(row)
        )
        row["speedup"] = native["median_ms"] / row["median_ms"]
    return rows


def fitted(noise: float = 0.0) -> PerformanceModel:
    return fit(made_up_rows(noise), MODEL, weight_bytes=4, ceilings=CEILINGS)


def test_a_grid_holds_a_third_out_and_no_corner():
    points = grid([64, 128, 256, 512], [1, 2, 4, 8], [16, 600], positions=512, most_tokens=2048)
    assert prefill(8, 512) not in points and prefill(4, 512) in points and decode(1, 600) not in points
    roles = Counter(role for point, role in points.items() if point.phase == PREFILL)
    assert 0.2 < roles[HELD_OUT] / sum(roles.values()) < 0.45
    for corner in (prefill(1, 64), prefill(8, 64), prefill(1, 512), prefill(4, 512)):
        assert points[corner] == FIT
    with pytest.raises(InputError, match="fewer than two points of decode"):
        grid([8, 16], [1], [600], positions=512, most_tokens=64)


def test_growth_is_the_slope_of_logarithms():
    rows = [
        {"rule": "bh", "phase": PREFILL, "batch": batch, "length": length, "cache_length": 0,
         "median_ms": 3.0 * batch**0.5 * length**2}
        for batch in (1, 2, 4) for length in (10, 30, 90)
    ]  # fmt: skip
    found = {one["variable"]: one for one in growth(rows)}
    assert found["length"]["order"] == pytest.approx(2) and found["batch"]["order"] == pytest.approx(0.5)
    assert found["length"]["low"] == pytest.approx(2) == found["length"]["high"]


def test_scaling_of_a_model():
    model = tiny_model()
    rules = {"bh": bh_rule(model), "var": var_rule(model)}
    points = {prefill(2, 16): FIT, decode(3, 8): FIT}
    rows = measure_scaling(model, rules, points, range(400), rounds=6)
    assert [(row["rule"], row["phase"]) for row in rows] == [
        (rule, phase) for phase in (PREFILL, DECODE) for rule in ("untouched", "bh", "var")
    ]
    for row in rows:
        assert row["low_ms"] <= row["median_ms"] <= row["high_ms"]
        if row["rule"] == "untouched":
            assert row["speedup"] == 1.0 and row["experts"] == 2.0 and row["learned_share"] == 1.0
        assert row["experts"] <= row["distinct"] <= 8
    assert 0 < rows[2]["learned_share"] < 1  # VAR looks the odd token ids up
    assert {row["rounds"] for row in rows} == {6}
    assert 1 <= rows[1]["experts"] <= 3


@pytest.mark.parametrize(("rounds", "shares"), [(1, [1]), (2, [1, 1]), (6, [2, 2, 2]), (20, [7, 7, 6])])
def test_rounds_are_spread_over_the_visits(rounds, shares):
    assert visits(rounds) == shares


@pytest.mark.parametrize("q", [0.01, 0.25, 0.5, 0.95])
def test_intervals_of_quantiles_cover_as_they_say(q):
    """Bounds by summing the binomial by hand."""
    for size in (5, 6, 30, 200):
        chances = [math.comb(size, j) * q**j * (1 - q) ** (size - j) for j in range(size + 1)]
        values = list(range(100, 100 + size))
        found = quantile(values, q)
        below = [j for j in range(1, size + 1) if sum(chances[:j]) <= 0.025]
        above = [j for j in range(1, size + 1) if sum(chances[j:]) <= 0.025]
        assert found.low == (values[below[-1] - 1] if below else None), size
        assert found.high == (values[above[0] - 1] if above else None), size


def test_exact_measurements_are_predicted_exactly():
    model = fitted()
    reported = predicted(made_up_rows(), model)
    assert max(abs(row["error"]) for row in reported) < 1e-6
    assert model.band == pytest.approx({PREFILL: 1.0, DECODE: 1.0}, abs=1e-6)
    assert all(one["within"]["criteria"] for one in errors(reported))


def test_errors_are_of_the_points_held_out():
    rows = made_up_rows()
    for row in rows:
        if row["role"] == HELD_OUT:
            row["median_ms"] *= 2
    reported = errors(predicted(rows, fit(rows, MODEL, weight_bytes=4, ceilings=CEILINGS)))
    by_role = {(one["phase"], one["role"]): one for one in reported}
    for phase in (PREFILL, DECODE):
        assert by_role[phase, HELD_OUT]["mean"] == pytest.approx(0.5, abs=1e-6)
        assert by_role[phase, FIT]["mean"] < 1e-6 and not by_role[phase, HELD_OUT]["within"]["roadmap"]


def test_predictions_move_as_they_must():
    model = fitted(0.02)
    few, many = (model.predict_speedup("bh", batch=1, cache_length=64, experts=k) for k in (1, 4))
    assert few.speedup > many.speedup and few.low <= few.speedup <= few.high
    looked_up = [
        model.predict_latency(Scenario(phase=DECODE, batch=8, hit_rate=h), "var") for h in (0, 0.5, 1)
    ]
    assert looked_up[0] >= looked_up[1] >= looked_up[2]
    fast = [model.predict_latency(Scenario(phase=PREFILL, batch=1, length=64, gflops=g)) for g in (50, 500)]
    assert fast[1] < fast[0]
    base = Scenario(phase=PREFILL, batch=1, length=64)
    assert model.predict_latency(base) == model.predict_latency(
        Scenario(phase=PREFILL, batch=1, length=64, gflops=CEILINGS["gflops"], num_experts=16, top_k=4)
    )


def test_doubts_name_what_was_not_measured():
    model = fitted()
    assert model.doubts(Scenario(phase=PREFILL, batch=2, length=64)) == []
    reported = " ".join(model.doubts(Scenario(phase=PREFILL, batch=99, length=64, hidden_size=128, gbytes=1)))
    assert "batch 99" in reported and "hidden_size 128" in reported and "gbytes" in reported
    with pytest.raises(InputError, match="'none' was not measured; name one of bh, var"):
        model.predict_speedup("none")
    with pytest.raises(InputError, match="hit_rate is 30"):
        model.predict_speedup("var", hit_rate=30)


def test_a_model_survives_json():
    model = fitted(0.05)
    again = PerformanceModel.from_json(model.as_json())
    asked = Scenario(phase=DECODE, batch=3, cache_length=77)
    assert again.predict_latency(asked, "bh") == model.predict_latency(asked, "bh")
    with pytest.raises(InputError, match="'band' is missing"):
        PerformanceModel.from_json({**model.as_json(), "band": 0} and {"structure": 1, "weight_bytes": 1,
                                   "ceilings": 1, "costs": 1, "rules": 1, "ranges": 1})  # fmt: skip


def test_a_roofline_is_that_of_naive_counts():
    row = {"rule": "bh", "phase": PREFILL, "batch": 1, "length": 3, "cache_length": 0, "median_ms": 2.0,
           "experts": 2.0, "distinct": 3.0, "learned_share": 1.0}  # fmt: skip
    [found] = roofline([row], MODEL, CEILINGS, weight_bytes=4)
    chosen = [[[0, 1], [1, 2], [0, 2]]] * 2
    flops, moved = naive_counts(MODEL, 1, 3, 0, chosen, [[True] * 3] * 2, 4)
    assert found["flops"] == sum(flops.values()) and found["bytes"] == sum(moved.values())
    least = max(sum(flops.values()) / 50e9, sum(moved.values()) / 10e9)
    assert found["attained_share"] == pytest.approx(least / 0.002)
    kept = sum(moved.values()) - moved["activations"]
    assert found["s_mbu"] == pytest.approx(kept / 0.002 / 10e9)
    assert found["s_mfu"] == pytest.approx(sum(flops.values()) / 0.002 / 50e9)
    assert sum(found[f"bytes_{name}"] for name in WATERFALL) == pytest.approx(kept / 3)
