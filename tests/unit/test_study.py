"""A configuration becomes a rule and the head of its logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from switchyard import config
from switchyard.errors import InputError
from switchyard.files import write_table
from switchyard.routing.nulls import NullDistribution, nulls_table
from switchyard.study import SCHEMA_VERSION, build_rule, experiment_head

ROOT = Path(__file__).parents[2]
STRUCTURE = {"num_experts": 64, "num_layers": 2, "top_k": 8}
TOPK = {"config": "8experts_topk_baseline", "rule": "topk", "k": 8, "weighting": "model"}
BH = {
    "config": "16experts_bh_a030",
    "rule": "bh",
    "max_k": 16,
    "alpha": 0.3,
    "min_k": 2,
    "null_distribution": "trimmed_2",
    "weighting": "sum_to_one",
}


@pytest.fixture
def nulls(tmp_path: Path) -> Path:
    layers = [
        {
            name: NullDistribution(np.array([shift + layer, 9.0]), np.array([0.0, 1.0]))
            for name, shift in {"pooled": 0.0, "trimmed_2": 0.5}.items()
        }
        for layer in range(2)
    ]
    write_table(tmp_path / "nulls.parquet", nulls_table(layers))
    return tmp_path / "nulls.parquet"


def head(setting: dict[str, Any], **structure: int) -> dict[str, Any]:
    return experiment_head(
        study="pocket", model="olmoe", setting=setting, dataset="cloze", structure={**STRUCTURE, **structure}
    )


def test_a_rule_has_the_settings_of_its_configuration(nulls: Path) -> None:
    rule = build_rule(TOPK, None)
    assert (type(rule).__name__, rule.k, rule.weighting) == ("TopK", 8, "model")
    rule = build_rule(BH, nulls)
    assert (rule.alpha, rule.max_k, rule.min_k, rule.weighting) == (0.3, 16, 2, "sum_to_one")
    assert [null.logit[0] for null in rule.null] == [0.5, 1.5]  # trimmed_2, layer by layer


def test_the_null_asked_for_must_be_there(nulls: Path) -> None:
    with pytest.raises(InputError, match="'empirical' is not in"):
        build_rule({**BH, "null_distribution": "empirical"}, nulls)


def test_every_configuration_of_the_default_study_becomes_a_rule(nulls: Path) -> None:
    schema = config.read(ROOT / "config.schema.yaml")
    for setting in config.experiments(config.resolve(config.read(ROOT / "config.yaml"), schema, ROOT)):
        rule = build_rule(setting, nulls)
        found = head(setting)
        assert found["config"] == setting["config"]
        assert found["k_or_max_k"] == getattr(rule, "k", getattr(rule, "max_k", None))


def test_the_head_of_a_static_rule() -> None:
    assert head(TOPK) == {
        "schema_version": SCHEMA_VERSION,
        "study": "pocket",
        "model": "olmoe",
        "config": "8experts_topk_baseline",
        "strategy": "topk",
        "k_or_max_k": 8,
        "min_k": None,
        "alpha": None,
        "null": None,
        "weighting": "model",
        "num_experts": 64,
        "num_layers": 2,
        "trained_top_k": 8,
        "dataset": "cloze",
    }


def test_the_head_of_an_adaptive_rule() -> None:
    found = head(BH)
    assert (found["strategy"], found["k_or_max_k"], found["min_k"]) == ("bh", 16, 2)
    assert (found["alpha"], found["null"], found["weighting"]) == (0.3, "trimmed_2", "sum_to_one")


@pytest.mark.parametrize("setting", [TOPK, BH])
def test_more_experts_than_the_model_has_are_refused(setting: dict[str, Any]) -> None:
    most = setting.get("k", setting.get("max_k"))
    assert head(setting, num_experts=most)["num_experts"] == most
    message = f"{setting['config']} asks for {most} experts a token, olmoe has {most - 1}; lower it"
    with pytest.raises(InputError, match=message):
        head(setting, num_experts=most - 1)
