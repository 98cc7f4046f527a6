"""How the parts of a forward are divided into steps, and what the profiler's events say of them."""

from __future__ import annotations

import statistics
from types import SimpleNamespace

import pytest
import torch

from reference.tiny import tiny_model
from switchyard.profiling.components import COLUMNS, component_rows, measure_components
from switchyard.profiling.operators import COLUMNS as OPERATORS
from switchyard.profiling.operators import device_use, expert_shares, profiled, write_trace
from switchyard.profiling.points import decode, prefill
from switchyard.profiling.splits import divided, named, steps_of
from switchyard.profiling.subjects import Subject, subjects
from switchyard.profiling.workloads import Workload
from unit.profiling.test_instruments import bh_rule, var_rule


def test_steps_that_fit_keep_their_time_and_the_rest_its_name():
    found = divided({"rule": 10.0, "norms": 1.0}, {"rule": {"sort": 6.0, "p-values": 1.0}}, {})
    assert found == {"sort": 6.0, "p-values": 1.0, "rule": 3.0, "norms": 1.0}


def test_steps_that_do_not_fit_share_the_time():
    found = divided({"rule": 4.0}, {"rule": {"sort": 6.0, "p-values": 2.0}}, {})
    assert found == pytest.approx({"sort": 3.0, "p-values": 1.0, "rule": 0.0})


def test_experts_are_divided_by_shares():
    found = divided({"experts": 8.0}, {}, {"gather": 0.25, "expert products": 0.5, "combine": 0.25})
    assert found == {"gather": 2.0, "expert products": 4.0, "combine": 2.0}
    assert divided({"experts": 8.0}, {}, {}) == {"experts": 8.0}


def test_division_keeps_the_sum():
    parts = {"rule": 3.0, "experts": 5.0, "look-up": 2.0, "head": 1.0}
    steps = {"rule": {"sort": 9.0}, "look-up": {"hash": 0.5, "table look-up": 0.5}}
    shares = {"gather": 0.3, "expert products": 0.6, "combine": 0.1}
    assert sum(divided(parts, steps, shares).values()) == pytest.approx(11.0)


def test_var_s_own_names():
    subject = Subject("var", torch.nn.Module(), SimpleNamespace(has_paths=True))
    measured = {"rule": 1.0, "after forward": 2.0, "hash": 3.0}
    assert named(subject, measured) == {"learned routing": 1.0, "cache write": 2.0, "hash": 3.0}
    assert named(Subject("bh", torch.nn.Module(), None), measured) == measured


def _event(name, took, *children):
    return SimpleNamespace(name=name, cpu_time_total=took, device_time_total=0, cpu_children=list(children))


def test_experts_divide_at_their_first_and_last_product():
    inner = [
        _event("aten::sort", 3),
        _event("aten::linear", 10, _event("aten::mm", 9)),
        _event("aten::silu", 2),
        _event("aten::_grouped_mm", 4),
        _event("aten::embedding_bag", 1),
    ]
    events = [
        _event("experts", 99, *inner),
        _event("aten::mm", 50),
        _event("experts", 9, _event("aten::sum", 1)),
    ]
    assert expert_shares(events) == {"gather": 0.15, "expert products": 0.8, "combine": 0.05}
    assert expert_shares([_event("norms", 1)]) == {}


def test_a_card_s_idle_time_counts_overlapping_kernels_once():
    spans = [(10.0, 20.0), (15.0, 30.0), (50.0, 60.0), (51.0, 52.0)]
    found = device_use(spans, [5.0, 5.0], wall=100.0)
    assert found == pytest.approx({"idle_share": 0.7, "launch_share": 0.1})


@pytest.mark.parametrize("implementation", ["grouped_mm", "batched_mm", "eager"])
def test_every_implementation_of_the_experts_has_products(implementation, tmp_path):
    model = tiny_model()
    model.set_experts_implementation(implementation)
    with subjects(model, {}) as found:
        profile = profiled(found[0], Workload(found[0].model, prefill(1, 16), range(400)))
        shares = expert_shares(profile.events())
        assert shares["expert products"] > 0 and sum(shares.values()) == pytest.approx(1)
        trace = write_trace(profile, tmp_path, "one").read_text()
    assert '"experts"' in trace and '"attention"' in trace


def test_steps_of_each_rule():
    model = tiny_model()
    with subjects(model, {"bh": bh_rule(model), "var": var_rule(model)}) as (plain, bh, var):
        steps = {
            one.name: steps_of(one, Workload(one.model, prefill(1, 16), range(400)))
            for one in (plain, bh, var)
        }
        before = var.rule.performance_stats()
        steps_of(var, run := Workload(var.model, prefill(1, 16), range(400)))
        calls = var.rule.performance_stats()["overall"]["total_calls"] - before["overall"]["total_calls"]
        assert calls == run.ids.numel() * 2  # one forward, in both layers
    assert steps["untouched"] == {}
    assert set(steps["bh"]["rule"]) == {"sort", "p-values"}
    assert set(steps["var"]["look-up"]) == {"hash", "table look-up", "cache look-up"}
    assert all(spent >= 0 for own in steps.values() for part in own.values() for spent in part.values())


def test_rows_of_components_are_those_of_a_naive_count():
    forwards = [{"norms": 1.0, "head": 3.0}, {"norms": 2.0}, {"norms": 6.0, "head": 1.0}]
    norms, head = component_rows("bh", "decode", forwards)
    assert list(norms) == COLUMNS
    assert norms["mean_ms"] == 3.0 and norms["total_ms"] == 9.0 and norms["p50_ms"] == 2.0
    assert norms["std_ms"] == pytest.approx(statistics.pstdev([1, 2, 6]))
    assert head["total_ms"] == 4.0 and head["p50_ms"] == 1.0
    assert norms["percentage"] + head["percentage"] == pytest.approx(100)
    assert norms["percentage"] == pytest.approx(900 / 13)


def test_components_of_a_model():
    model = tiny_model()
    rules = {"bh": bh_rule(model), "var": var_rule(model)}
    points = [prefill(1, 32), decode(1, 16)]
    found = measure_components(model, rules, points, range(400), rounds=3, operators=5)
    reported = {(row["rule"], row["phase"], row["component"]) for row in found.rows}
    for phase in ("prefill", "decode"):
        for name in ("attention", "router", "gather", "expert products", "combine", "head", "other"):
            assert {(rule, phase, name) for rule in ("untouched", "bh", "var")} <= reported
        assert {("bh", phase, "sort"), ("bh", phase, "p-values"), ("var", phase, "hash")} <= reported
        assert ("var", phase, "cache write") in reported
    assert all(list(row) == OPERATORS for row in found.operators)
    assert [(one["rule"], one["phase"]) for one in found.instruments] == [
        (rule, phase) for phase in ("prefill", "decode") for rule in ("untouched", "bh", "var")
    ]
    assert all(0 < one["named_share"] <= 1 for one in found.instruments)
