"""Where the speed of a model comes from."""

from __future__ import annotations

import json

import pytest

from switchyard.errors import InputError
from switchyard.planning.dag import Job
from switchyard.planning.estimate import estimate
from switchyard.planning.footprint import active_parameters
from switchyard.planning.throughput import CORE_TFLOPS, find
from unit.planning.studies import ROOMY, workload


@pytest.fixture
def work(tmp_path):
    return workload(tmp_path)


def write_speed(work, **rates):
    path = work.folder / "evaluate" / "speed.json"
    path.parent.mkdir(parents=True)
    path.write_text(
        json.dumps({"rows": [{"config": name, "tokens_per_second": rate} for name, rate in rates.items()]})
    )


def test_stated_tokens_are_of_the_trained_number_of_experts(work):
    found = find(work, tokens_per_second=100.0)
    assert found.seconds(2.0 * active_parameters(work.structure(work.model))) == pytest.approx(1 / 100)
    assert "100 tokens/s, as stated" in found.basis


def test_stated_arithmetic_is_not_reached_whole(work):
    assert find(work, tflops=2.0, utilisation=0.25).flops == pytest.approx(5e11)
    assert find(work).flops == CORE_TFLOPS * 1e12
    assert "nothing was measured or stated" in find(work).basis


def test_an_earlier_run_is_believed_unless_something_is_stated(work):
    write_speed(work, **{"8experts_topk_baseline": 500.0, "8experts_bh_a030": 800.0})
    found = find(work)
    assert "speed.json" in found.basis and found.rates["8experts_bh_a030"] == 800.0
    assert found.flops == pytest.approx(500 * 2 * active_parameters(work.structure(work.model)))
    for stated in ({"tokens_per_second": 10.0}, {"tflops": 1.0}):
        assert "stated" in find(work, **stated).basis


@pytest.mark.parametrize("content", ["", "{}", '{"rows": [1]}', '{"rows": [{"config": "a"}]}', "[]"])
def test_a_speed_that_cannot_be_read_is_none(work, content):
    path = work.folder / "evaluate" / "speed.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert "taken for 1 CPU thread" in find(work).basis


def test_a_configuration_that_was_measured_runs_at_its_own_rate(work):
    write_speed(work, **{"8experts_topk_baseline": 500.0, "8experts_bh_a030": 1000.0})
    speed, stated = find(work), find(work, tokens_per_second=500.0)
    tokens = work.tokens("heldout").all + work.tokens("heldout").repeated

    def seconds(config, of):
        job = Job("evaluate_experiment", {"config": config, "dataset": "heldout"})
        return estimate(job, work, of, ROOMY).seconds

    saved = seconds("8experts_bh_a030", stated) - seconds("8experts_bh_a030", speed)
    assert saved == pytest.approx(tokens / 500 - tokens / 1000)
    # a configuration that was not measured follows from its arithmetic
    assert seconds("16experts_topk_baseline", speed) == pytest.approx(
        seconds("16experts_topk_baseline", stated)
    )


def test_a_model_that_is_there_can_be_measured(work):
    found = find(work, measure=True)
    assert found.flops > 0 and "measured now" in found.basis


def test_what_is_measured_leases_room_on_a_card(work, monkeypatch):
    from switchyard.models import load

    leased, real = [], load.load_model
    monkeypatch.setattr(load, "load_model", lambda *a, **b: leased.append(b["gpu_mem_gb"]) or real(*a, **b))
    find(work, measure=True)
    assert leased == [2]  # GB: a pocket model and the driver


def test_a_model_that_is_not_there_cannot(tmp_path):
    work = workload(tmp_path, "olmoe.yaml")
    with pytest.raises(InputError, match="not there to be measured"):
        find(work, measure=True)


def test_without_a_structure_there_is_no_throughput(tmp_path):
    work = workload(tmp_path, "olmoe.yaml")
    work.config["models"]["olmoe"].pop("structure")
    assert find(work, tokens_per_second=5.0) is None
