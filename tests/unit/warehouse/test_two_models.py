"""Two models in one database: each has the numbers of a database with it alone."""

from __future__ import annotations

import pytest

from reference.synthetic_study import SPEED, Study
from switchyard.warehouse.invariants import ImpossibleResult

VIEWS = ("metrics", "quality", "routing_by_layer", "expert_usage", "count_distribution", "paired_differences")
BASELINE = {"strategy": "topk", "k_or_max_k": 2, "min_k": 2}
MODELS = {"tiny": {"seed": 1}, "wide": {"seed": 5, "num_experts": 8, "num_layers": 2}}
"""Two models of different shapes, whose configurations have the same names."""


def add(study, model):
    """A baseline, an adaptive rule on two datasets, and its speed."""
    settings = MODELS[model]
    for kind in ("perplexity", "choice"):
        baseline = {**settings, **BASELINE, "seed": settings["seed"] + 1}
        study.add("2experts_topk_baseline", kind, kind=kind, model=model, **baseline)
        study.add("4experts_bh_a030", kind, kind=kind, model=model, **settings)
    return {**SPEED, "model": model, "config": "4experts_bh_a030", "tokens_per_second": settings["seed"]}


@pytest.fixture(scope="module")
def databases(tmp_path_factory):
    """A database of both models, and one of each."""
    both = Study(tmp_path_factory.mktemp("both"))
    both.build([add(both, model) for model in MODELS])
    alone = {}
    for model in MODELS:
        alone[model] = Study(tmp_path_factory.mktemp(model))
        alone[model].build([add(alone[model], model)])
    return both, alone


@pytest.mark.parametrize("view", VIEWS)
def test_a_second_model_changes_no_number_of_the_first(databases, view):
    both, alone = databases
    found = both.query(f"FROM {view}")
    assert list(found[0])[0] == "model" and {row["model"] for row in found} == set(MODELS)
    for model, study in alone.items():
        assert [row for row in found if row["model"] == model] == study.query(f"FROM {view}")


def test_the_models_differ(databases):
    """Or the test above would not see one taken for the other."""
    rows = [{**row, "model": None} for row in databases[0].query("FROM metrics")]
    assert len(rows) == 8 and len({str(row) for row in rows}) == 8


def test_samples_are_paired_within_a_model(databases):
    both, _ = databases
    rows = both.query("FROM paired_differences")
    assert [(row["model"], row["config_name"], row["against"]) for row in rows] == [
        (model, "4experts_bh_a030", "2experts_topk_baseline") for model in MODELS for _ in range(2)
    ]
    assert {row["samples"] for row in rows} == {4}


def test_a_model_without_its_baseline_is_paired_with_nothing(study):
    study.add("2experts_topk_baseline", model="wide", **BASELINE)
    study.add("4experts_bh_a030")
    assert study.build().query("FROM paired_differences") == []


def test_an_impossible_result_names_its_model(study):
    study.add("4experts_bh_a030", "words", kind="cloze")
    head = study.add("4experts_bh_a030", "words", kind="cloze", model="wide")
    head["k_or_max_k"] = 1
    with pytest.raises(ImpossibleResult, match="^wide 4experts_bh_a030 on words: "):
        study.build()
