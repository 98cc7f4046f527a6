"""The batches of a study's search: how many points, and which files a batch is asked from."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchyard.search.methods import INITIAL
from switchyard.search.plan import Plan
from switchyard.study import config
from switchyard.study.study import Study

ROOT = Path(__file__).parents[3]


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(ROOT)
    default = config.resolve(config.read("config.yaml"), config.read("config.schema.yaml"))
    return Plan(Study(default, ROOT))


def test_the_default_trajectory_has_thirty_points_or_more(plan):
    for method in plan.methods:
        points = plan.batches(method) * plan.q * len(plan.seeds(method))
        assert points >= 30, method
        assert len(list(plan.points("pocket-mixtral", method))) == plan.batches(method) * len(
            plan.seeds(method)
        )


def test_a_batch_is_asked_from_those_before_it_of_its_own_seed(plan):
    files = plan.earlier("pocket-mixtral", "bayesian", 2, 3)
    folder = "results/pocket/search/pocket-mixtral/bayesian/seed2/points"
    assert files == [f"{folder}/{number}.parquet" for number in range(3)]
    assert plan.earlier("pocket-mixtral", "grid", 0, 3) == []
    assert plan.seeds("grid") == [0]


def test_initial_batches_of_bayesian_read_those_of_random(plan):
    initial = [number for number in range(4) if plan.others("pocket-mixtral", "bayesian", 1, number)]
    assert initial == list(range(INITIAL // plan.q))
    (other,) = plan.others("pocket-mixtral", "bayesian", 1, 0)
    assert other.endswith("random/seed1/points/0.parquet")
    assert not plan.others("pocket-mixtral", "random", 1, 0)


def test_manual_configurations_are_the_presets_and_the_study_s_own(plan):
    found = plan.manual()
    assert list(found) == ["conservative", "balanced", "aggressive", "custom"]
    assert found["custom"]["entropy_threshold"] == 1.8 and found["custom"]["routing_stats_path"] is None


def test_jobs_know_how_a_model_is_quantised(monkeypatch):
    monkeypatch.chdir(ROOT)
    schema = config.read("config.schema.yaml")
    merged = config.merge(config.read("config.yaml"), config.read("studies/quantised.yaml"))
    plan = Plan(Study(config.resolve(merged, schema), ROOT))
    entries = plan.study.config["models"]
    assert any("quantise" in entries[model] for model in plan.ablated)
    for model in plan.ablated:
        entry = plan.ablation_job(model)["model_entry"]
        assert entry == {"dtype": entries[model]["dtype"]} | (
            {"quantise": entries[model]["quantise"]} if "quantise" in entries[model] else {}
        )


def test_the_texts_are_those_of_the_section(plan):
    assert plan.text("dataset")["path"].endswith("datasets/tuning.parquet")
    assert plan.text("final")["path"].endswith("datasets/heldout.parquet")
    assert plan.text("dataset")["samples"] == plan.settings["samples"]
