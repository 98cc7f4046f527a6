"""Parts of a forward: their nesting, their names, and a model that is as it was."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from reference.tiny import tiny_model
from switchyard.profiling import clock as clock_module
from switchyard.profiling.clock import Clock
from switchyard.profiling.instruments import Observed, instrument
from switchyard.profiling.names import UNTOUCHED
from switchyard.profiling.points import decode, prefill
from switchyard.profiling.subjects import subjects
from switchyard.profiling.workloads import VARIANTS, Workload
from switchyard.routing import BenjaminiHochberg, TopK, attach, fit_nulls
from switchyard.var import RoutingTable, VARConfig, VARRouter


class Recorder:
    """A sink that writes down what it is given."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self.open: list[str] = []

    @property
    def depth(self) -> int:
        return len(self.open)

    def enter(self, name: str) -> None:
        self.open.append(name)
        self.events.append((name, len(self.open)))

    def leave(self) -> None:
        self.open.pop()

    def rename(self, name: str) -> None:
        self.open[-1] = name
        self.events.append((name, len(self.open)))


def var_rule(model) -> VARRouter:
    """VAR with a table that knows every token id."""
    layer, token = np.indices((2, model.config.vocab_size)).reshape(2, -1)
    columns = {
        "layer": layer,
        "token_id": token,
        "frequency": np.full(len(token), 99),
        "mean_entropy": np.where(token % 2, 0.1, 3.0),
        "experts": [[0, 1]] * len(token),
        "weights": [[0.5, 0.5]] * len(token),
    }
    return VARRouter(VARConfig(confidence_threshold=0.1), RoutingTable.of(pa.table(columns)))


def bh_rule(model) -> BenjaminiHochberg:
    seen = []
    observer = lambda layer, logits, *_: seen.append(logits.numpy())  # noqa: E731
    with attach(model, None, observer=observer), torch.inference_mode():
        model(torch.arange(60)[None])
    return BenjaminiHochberg(0.4, 3, null=[fit_nulls(one, 2)["pooled"] for one in seen])


def test_a_clock_gives_each_part_its_own_time(monkeypatch):
    ticks = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0])
    monkeypatch.setattr(clock_module.time, "perf_counter", lambda: next(ticks))
    clock = Clock()
    clock.enter("outer")  # 0
    clock.enter("inner")  # 1
    clock.leave()  # 3
    clock.rename("outer's end")  # 6
    clock.leave()  # 10
    clock.enter("later")  # 15
    assert clock.take() == {"outer": 4000.0, "inner": 2000.0, "outer's end": 4000.0}


@pytest.mark.parametrize("make", [lambda model: None, lambda model: TopK(2), bh_rule, var_rule])
def test_instruments_change_no_bit_and_leave_nothing(make):
    model, ids = tiny_model(), torch.arange(40).view(2, 20)
    rule = make(model)

    def answers(one_rule, sink=None):
        with attach(model, one_rule), torch.inference_mode():
            if sink is None:
                return [model(ids).logits for _ in range(2)]
            with instrument(model, sink):
                return [model(ids).logits for _ in range(2)]

    plain, sink = answers(rule), Recorder()
    watched = answers(rule and Observed(rule, sink), sink)
    assert all(map(torch.equal, plain, watched))
    assert sink.open == []
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("kind", ["untouched", "bh", "var"])
def test_parts_of_a_forward_in_their_order(kind):
    model = tiny_model()
    rule = {"untouched": lambda _: None, "bh": bh_rule, "var": var_rule}[kind](model)
    sink = Recorder()
    rules = {kind: Observed(rule, sink)} if rule else {}
    with subjects(model, rules) as found, instrument(found[-1].model, sink):
        Workload(found[-1].model, prefill(1, 8), range(400))()
        sink.events.clear()
        Workload(found[-1].model, prefill(1, 8), range(400))()
    rest = "other" if kind == "untouched" else "attach"
    inside = {"untouched": [], "bh": ["rule"], "var": ["look-up", "rule"]}[kind]
    layer = ["residual", "norms", "attention", "norms", "norms", "norms", "router", *inside, "experts"]
    end = ["after forward"] if kind == "var" else []
    names = [name for name, _ in sink.events]
    assert names == [
        "other", rest, "embedding", "mask", "rotary", "other", *layer, *layer, rest, "norms", *end, "head",
    ]  # fmt: skip


def test_subjects_share_weights_and_route_each_by_its_rule():
    model = tiny_model()
    with subjects(model, {"one": TopK(1), "two": TopK(2)}) as found:
        assert [one.name for one in found] == [UNTOUCHED, "one", "two"]
        for one in found:
            pairs = zip(model.parameters(), one.model.parameters(), strict=True)
            assert all(mine is its for mine, its in pairs)
        assert found[1].rule.trained_top_k == 2
        answers = [one.model(torch.arange(9)[None]).logits for one in found]
        assert torch.equal(answers[0], answers[2]) and not torch.equal(answers[0], answers[1])


def test_a_workload_reads_on_and_keeps_its_cache():
    model = tiny_model()
    run = Workload(model, decode(2, 5), range(400))
    first = run.ids.clone()
    for _ in range(VARIANTS):
        run()
        assert run._cache.get_seq_length() == 6
        run.reset()
        assert run._cache.get_seq_length() == 5
    assert torch.equal(run.ids, first)
    run()
    assert not torch.equal(run.ids, first)
