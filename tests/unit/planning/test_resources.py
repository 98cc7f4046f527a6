"""What jobs ask for: the most experts of a model's own configurations, and more at each attempt."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from switchyard.planning.resources import JobResources, minutes
from switchyard.study import config
from switchyard.study.study import Study

ROOT = Path(__file__).parents[3]
OLMOE, MIXTRAL = "pocket-olmoe", "pocket-mixtral"
SETS = {
    "top": {"rule": "topk", "k": [2, 3]},
    "bh": {"rule": "bh", "max_k": 64, "alpha": 0.3, "models": [OLMOE]},
    "mean": {"rule": "mixed_topk", "k": 3.5, "models": [MIXTRAL]},
    "mixed": {"rule": "mixed_topk", "match": ["bh"]},
}


@pytest.fixture
def resources(default: dict[str, Any], schema: dict[str, Any]) -> JobResources:
    return JobResources(Study(config.resolve({**default, "routing": SETS}, schema, ROOT), ROOT))


def of(model: str) -> SimpleNamespace:
    return SimpleNamespace(model=model)


def test_the_most_experts_are_those_of_the_model_s_own_rules(resources: JobResources) -> None:
    for model, most in ((OLMOE, 64), (MIXTRAL, 4)):
        assert resources.most_experts(model, resources.study.of(model)) == most
    assert resources.most_experts(OLMOE, ["2experts_topk_baseline"]) == 2
    assert resources.most_experts(OLMOE, ["mixed_topk_as_64experts_bh_a030"]) == 64
    assert resources.most_experts(MIXTRAL, ["mixed_topk_k3.5", "3experts_topk_baseline"]) == 4


@pytest.mark.parametrize("model", [OLMOE, MIXTRAL])
def test_memory_grows_with_the_attempt_the_batch_and_the_experts(resources: JobResources, model: str) -> None:
    asked = resources.model(4096, experiments=True)
    memory = [asked["mem_mb"](of(model), attempt) for attempt in (1, 2, 3)]
    assert memory == [memory[0] * attempt for attempt in (1, 2, 3)] and memory[0] > 0
    assert resources.model(65536, experiments=True)["mem_mb"](of(model), 1) > memory[0]
    assert resources.model(4096)["mem_mb"](of(model), 1) <= memory[0]
    assert asked["gpu_mem_gb"](of(model)) >= 1
    assert asked["runtime"](of(model), 2) == 120 and minutes(7)(of(model), 3) == 21


def test_counts_of_an_observed_shard_come_on_top(resources: JobResources) -> None:
    plain, counted = (resources.model(4096, counted=times)["mem_mb"](of(OLMOE), 1) for times in (0, 2))
    assert counted - plain == pytest.approx(1000 * resources.counts_gb(OLMOE, 2), abs=1)
    once, twice = (resources.counts_gb(OLMOE, times) for times in (1, 2))
    assert once > 0 and twice == pytest.approx(2 * once)
    assert resources.counts(0)(of(OLMOE), 2) == 2 * resources.counts(0)(of(OLMOE), 1)


def test_a_model_of_which_nothing_is_known_asks_for_something(
    resources: JobResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources.study, "structure", lambda model: None)
    assert resources.model(4096, experiments=True)["mem_mb"](of(OLMOE), 1) > 0
    assert resources.counts_gb(OLMOE, 2) == 0.0
