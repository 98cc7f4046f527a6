"""Overheads, latencies, break-even and bottlenecks on made-up measurements."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reference.tiny import tiny_model
from switchyard.artifacts.files import read_json, read_table
from switchyard.profiling.bottlenecks import bottlenecks
from switchyard.profiling.break_even import EXPERTS, LOOKED_UP, break_evens, crossing, curves
from switchyard.profiling.components import component_rows
from switchyard.profiling.latency import compared, percentiles, verdict
from switchyard.profiling.overhead import overheads
from switchyard.profiling.points import DECODE, PREFILL
from switchyard.profiling.run import Settings, between, points_of, profile, steps
from switchyard.profiling.written import write_profile
from unit.profiling.test_instruments import bh_rule, var_rule
from unit.profiling.test_model import fitted

SMALL = Settings(
    lengths=(8, 16, 32),
    batches=(1, 2),
    cache_lengths=(8, 16, 32),
    rounds=6,
    component_rounds=3,
    latency_samples=20,
    operators=4,
)


def test_overheads_are_differences_of_components():
    native = {"router": 2.0, "gather": 1.0, "expert products": 4.0, "combine": 1.0}
    var = native | {"router": 0.5, "learned routing": 0.4, "hash": 0.1, "table look-up": 0.2}
    var |= {"cache look-up": 0.3, "cache write": 0.2, "look-up": 0.1, "expert products": 3.0, "attach": 0.7}
    bh = native | {"sort": 0.05, "p-values": 0.04, "rule": 0.01}
    rows = [
        row
        for rule, parts in (("untouched", native), ("var", var), ("bh", bh))
        for row in component_rows(rule, "decode", [parts])
    ]
    found = {one["rule"]: one for one in overheads(rows)}
    assert list(found) == ["var", "bh"]
    reported = found["var"]
    assert reported["hashing_overhead_us"] == pytest.approx(100) and reported[
        "cache_overhead_us"
    ] == pytest.approx(500)
    assert reported["gating_overhead_us"] == pytest.approx(300) and reported[
        "total_overhead_us"
    ] == pytest.approx(900)
    assert reported["routing_savings_us"] == pytest.approx(1100) and reported[
        "net_benefit_us"
    ] == pytest.approx(200)
    assert reported["overhead_percentage"] == pytest.approx(45) and not reported["within_limit"]
    assert reported["expert_savings_us"] == pytest.approx(1000) and reported["attach_us"] == pytest.approx(
        700
    )
    assert found["bh"]["overhead_percentage"] == pytest.approx(5) and found["bh"]["within_limit"]
    assert found["bh"]["testing_overhead_us"] == pytest.approx(100)


def latencies(size: int, **scales: float) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    base = draw.lognormal(0, 0.3, size)
    frames = [
        pd.DataFrame(
            {
                "rule": rule,
                "phase": DECODE,
                "sample": range(size),
                "latency_ms": base * scale * draw.lognormal(0, 0.02, size),
            }
        )
        for rule, scale in {"untouched": 1.0, **scales}.items()
    ]
    return pd.concat(frames, ignore_index=True)


def test_rules_are_faster_slower_the_same_or_open():
    found = {one["rule"]: one for one in compared(latencies(300, quick=0.8, slow=1.3, even=1.001))}
    assert {name: one["verdict"] for name, one in found.items()} == {
        "quick": "faster", "slow": "slower", "even": "same", "untouched": None,
    }  # fmt: skip
    assert found["quick"]["ratio"] == pytest.approx(0.8, rel=0.01)
    few = compared(latencies(5, quick=0.8))
    assert few[0]["verdict"] == "ambiguous" and few[0]["low"] is None and few[0]["tail_ratio"] is None
    assert verdict(0.97, 1.01) == "ambiguous"


def test_too_few_samples_for_a_tail_are_said():
    few, many = (percentiles(latencies(size)).set_index("percentile") for size in (300, 4000))
    assert list(few.index) == [1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9]
    assert few.loc[95, "enough"] and not few.loc[99.9, "enough"] and pd.isna(few.loc[99.9, "high"])
    assert many.loc[99.9, "enough"]
    assert (many["low"] <= many["latency_ms"]).all() and (many["latency_ms"] <= many["high"]).all()


def test_a_curve_crosses_where_a_line_does():
    rows = [{"value": value, "speedup": speedup} for value, speedup in ((0, 0.8), (1, 0.9), (2, 1.2))]
    assert crossing(rows) == pytest.approx(1 + 1 / 3)
    assert crossing(rows[:2]) is None


def test_curves_follow_the_model():
    model = fitted()
    model.rules["var"]["has_paths"] = True
    rows = curves(model)
    for row in rows:
        assert row["low"] <= row["speedup"] <= row["high"]
    experts = [row for row in rows if (row["rule"], row["variable"]) == ("bh", EXPERTS)]
    by_phase = {
        phase: [row["speedup"] for row in experts if row["phase"] == phase] for phase in (PREFILL, DECODE)
    }
    assert all(speeds == sorted(speeds, reverse=True) for speeds in by_phase.values())
    found = {(one["rule"], one["phase"], one["variable"]): one for one in break_evens(rows)}
    assert ("var", DECODE, LOOKED_UP) in found and ("bh", DECODE, LOOKED_UP) not in found
    for (rule, phase, variable), one in found.items():
        own = [row for row in rows if (row["rule"], row["phase"], row["variable"]) == (rule, phase, variable)]
        assert (one["at"] is None) == (
            all(row["speedup"] > 1 for row in own) or all(row["speedup"] < 1 for row in own)
        )


def test_bottlenecks_have_the_severity_of_their_limits():
    place = {"rule": "bh", "phase": DECODE}
    components = component_rows(
        "bh", DECODE, [{"norms": 20.0, "residual": 31.0, "attention": 40.0, "mask": 9.0}]
    )
    found = bottlenecks(
        components,
        [{**place, "share_of_forward": 0.02}],
        [{**place, "attained_share": share} for share in (0.05, 0.2, 0.9)],
        [{**place, "tail_ratio": 2.5}, {**place, "tail_ratio": None}],
        [{**place, "variable": "length", "order": 1.2}, {**place, "variable": "batch", "order": 3.0}],
        [{**place, "idle_share": 0.6}],
    )
    assert [(row["kind"], row["what"], row["severity"]) for row in found] == [
        ("component", "residual", "high"),
        ("idle", "the card's idle share", "high"),
        ("tail", "P99 over P50", "high"),
        ("component", "norms", "medium"),
        ("roofline", "attained share of the roofline", "medium"),
    ]


def test_verification_lies_between_the_points_of_the_grid():
    points = points_of(tiny_model(), SMALL)
    new = between(points)
    assert {point.phase for point in new} == {PREFILL, DECODE}
    for point in new:
        own = [one for one in points if one.phase == point.phase]
        assert point not in points
        assert min(one.batch for one in own) <= point.batch <= max(one.batch for one in own)
        assert point.length <= 32 and point.cache_length <= 32


def test_a_whole_profile_and_its_files(tmp_path):
    model, reported = tiny_model(), []
    rules = {"bh": bh_rule(model), "var": var_rule(model)}
    found = profile(model, rules, list(range(400)), SMALL, progress=reported.append)
    assert len(reported) == steps(model, SMALL)
    write_profile(tmp_path, found, head={"model": "tiny"}, stamp={"code": "1"})
    names = {path.name for path in tmp_path.iterdir()}
    tables = ("components", "operators", "scaling", "roofline")
    assert names == {f"{name}.csv{end}" for name in tables for end in ("", ".provenance.json")} | {
        "latency.parquet", "overhead.json", "performance_model.json",
    }  # fmt: skip
    components = pd.read_csv(tmp_path / "components.csv")
    assert list(components.columns) == [
        "rule", "phase", "component", "mean_ms", "std_ms", "p50_ms", "p95_ms", "p99_ms", "total_ms", "percentage",
    ]  # fmt: skip
    model_file = read_json(tmp_path / "performance_model.json")
    assert {one["role"] for one in model_file["errors"]} == {"fit", "held out", "verify"}
    for row in model_file["verification"]:  # the forecast is what the fitted model says
        assert row["forecast_ms"] == row["predicted_ms"]
    assert read_table(tmp_path / "latency.parquet").num_rows == 20 * 3 * 2
    assert len(pd.read_csv(tmp_path / "scaling.csv")) == len(pd.read_csv(tmp_path / "roofline.csv"))
