"""Components switched off in turn, against runs of the same rules one by one."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from reference.searched_model import EXPERTS, LAYERS, SETTINGS, TOP_K, Made
from switchyard.errors import NotANumber
from switchyard.models.costs import flops_per_token
from switchyard.routing.bh import BenjaminiHochberg
from switchyard.routing.mixed_topk import MixedTopK
from switchyard.routing.nulls import NullDistribution
from switchyard.search.ablation import ablate
from switchyard.search.candidates import BHCandidates
from switchyard.search.components import SCHEMA, WHOLE, Component, bh_components, var_components
from switchyard.var.config import VARConfig

WHOLE_VAR = {**VARConfig().as_json(), **SETTINGS, "confidence_threshold": 0.5, "cache_size": 50}
WHOLE_BH = {"alpha": 0.4, "max_k": TOP_K, "weighting": "model", "null_distribution": "pooled", "min_k": 1}


@pytest.fixture(scope="module")
def made() -> Made:
    return Made()


@pytest.fixture(scope="module")
def evaluator(made):
    return made.evaluator()


class BH(BHCandidates):
    """BH with a null in memory."""

    def rule(self, settings):
        null = NullDistribution(np.linspace(-1, 1, 40), np.linspace(0, 1, 40))
        fields = {name: value for name, value in settings.items() if name != "null_distribution"}
        return BenjaminiHochberg(**fields, null=[null] * LAYERS)


def test_each_component_of_var_changes_what_it_names():
    found = {one.name: one.settings for one in var_components(WHOLE_VAR, EXPERTS)}
    changed = {
        name: {key: value for key, value in own.items() if value != WHOLE_VAR[key]}
        for name, own in found.items()
    }
    assert changed == {
        "fast path": {"entropy_threshold": 0.0},
        "cache": {"cache_size": 0},
        "table weights": {"route_weights": "live"},
        "frequency threshold": {"frequency_threshold": 0},
        "entropy threshold": {"entropy_threshold": math.log(EXPERTS)},
        "confidence threshold": {"confidence_threshold": 0.0},
        "context in the cache key": {"context_window_size": 0},
        "fewer fast-path experts": {"fast_path_experts": None},
    }
    for settings in found.values():
        VARConfig(**settings)


def test_what_the_whole_rule_has_off_is_left_out():
    names = [one.name for one in var_components({**WHOLE_VAR, "cache_size": 0, "fast_path_experts": None}, 8)]
    assert "cache" not in names and "fewer fast-path experts" not in names
    names = [one.name for one in bh_components({**WHOLE_BH, "min_k": 0, "max_k": 8}, 8)]
    assert names == ["test", "kernel of the null", "weighting model"]


def test_rows_of_var_are_runs_of_their_settings(made, evaluator):
    candidates = made.candidates(evaluator)
    rows = ablate(evaluator, candidates, WHOLE_VAR, var_components(WHOLE_VAR, EXPERTS))
    assert rows[0]["component"] == WHOLE and rows[0]["loss_difference"] is None
    whole = candidates.run(WHOLE_VAR)[0]
    assert any(row["loss_difference"] for row in rows[1:])
    for row in rows:
        run, use = candidates.run(json.loads(row["settings"]))
        tokens = run.tokens.sum()
        assert row["loss"] == pytest.approx(run.loss.sum() / tokens)
        assert row["untouched_difference"] == pytest.approx(
            (run.loss.sum() - evaluator.untouched.loss.sum()) / tokens
        )
        cost = flops_per_token(made.structure, use.mean_experts, use.router_share)
        assert row["flops_ratio"] == pytest.approx(cost / flops_per_token(made.structure, TOP_K))
        assert (row["mean_experts"], row["acting_share"]) == (use.mean_experts, use.acting_share)
        if row["component"] != WHOLE:
            difference = (run.loss.sum() - whole.loss.sum()) / tokens
            assert row["loss_difference"] == pytest.approx(difference, abs=1e-9)
    assert {*rows[0], "rule", "config"} == set(SCHEMA.names)


def test_the_test_of_bh_is_replaced_by_a_draw_with_the_same_mean(made, evaluator):
    candidates = BH(made.subject, "", "")
    components = [one for one in bh_components(WHOLE_BH, EXPERTS) if one.name in ("test", "min_k")]
    whole, drawn, floor = ablate(evaluator, candidates, WHOLE_BH, components)
    assert 1 < whole["mean_experts"] < TOP_K
    run = made.subject.run(MixedTopK(whole["mean_experts"]))
    assert drawn["loss"] == pytest.approx(run.loss.sum() / run.tokens.sum())
    assert drawn["mean_experts"] == pytest.approx(whole["mean_experts"], abs=0.15)
    assert drawn["settings"] == "null" and floor["mean_experts"] < whole["mean_experts"]


def test_a_component_without_which_there_are_no_numbers_is_said(made, evaluator):
    class Broken(BH):
        def run(self, settings, *, own_when_full=False):
            if settings["min_k"] == 0:
                raise NotANumber("layer 1 is NaN")
            return super().run(settings, own_when_full=own_when_full)

    components = [Component("min_k", "0", {**WHOLE_BH, "min_k": 0})]
    _, row = ablate(evaluator, Broken(made.subject, "", ""), WHOLE_BH, components)
    assert row["failed"] == "layer 1 is NaN" and row["p"] is None and "loss" not in row
