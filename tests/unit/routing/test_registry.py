"""Rules by name, and the names of configurations."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import switchyard.routing
from switchyard.errors import InputError
from switchyard.routing.registry import RULES, config_label, config_name, percent, rule_module


def test_names() -> None:
    assert config_name("topk", {"k": 8}) == "8experts_topk_baseline"
    assert config_name("bh", {"max_k": 16, "alpha": 0.3}) == "16experts_bh_a030"
    assert config_name("bh", {"max_k": 8, "alpha": 0.29, "min_k": 1}) == "8experts_bh_a029"
    assert config_name("mixed_topk", {"k": 4.5}) == "mixed_topk_k4.5"
    assert config_name("mixed_topk", {"matched": "8experts_bh_a030"}) == "mixed_topk_as_8experts_bh_a030"


def test_a_name_says_what_is_not_the_default() -> None:
    usual = {"max_k": 8, "alpha": 0.3, "min_k": 1, "null_distribution": "pooled", "weighting": "model"}
    unusual = {**usual, "min_k": 0, "null_distribution": "trimmed_4", "weighting": "sum_to_one"}
    assert config_name("bh", usual) == "8experts_bh_a030"
    assert config_name("bh", unusual) == "8experts_bh_a030_trimmed_4_sum_to_one_min0"
    assert config_label("bh", usual) == "BH α 0.30, max 8"
    assert config_label("bh", unusual) == "BH α 0.30, max 8, trimmed_4 null, sum_to_one, min 0"


def test_labels() -> None:
    assert config_label("topk", {"k": 8}) == "top-8"
    assert config_label("bh_budget", {"max_k": 8, "target_k": 5}) == "BH to mean 5, max 8"
    assert config_label("mixed_topk", {"k": 4.5}) == "mixed top-4.5"
    assert config_label("mixed_topk", {}, partner="BH α 0.30, max 8") == "mixed top-k as BH α 0.30, max 8"
    assert config_label("random_count", {}, partner="top-8") == "random count as top-8"


def test_every_hundredth_has_its_percent() -> None:
    assert [percent("alpha", n / 100) for n in range(1, 100)] == list(range(1, 100))


@pytest.mark.parametrize("alpha", [0.0, 1.0, 30, 0.305, -0.1, 0.001, float("nan"), float("inf")])
def test_refuses_other_levels(alpha: float) -> None:
    with pytest.raises(InputError, match=r"multiple of 0\.01"):
        config_name("bh", {"max_k": 8, "alpha": alpha})


def test_an_unknown_rule_is_told() -> None:
    with pytest.raises(InputError, match="'topp' is unknown: use one of topk, bh"):
        rule_module("topp")


def test_a_name_needs_its_settings() -> None:
    with pytest.raises(InputError, match="max_k"):
        config_name("bh", {"alpha": 0.3})


def test_no_rule_is_imported() -> None:
    code = "import sys, switchyard.routing.registry; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_public_names_load_whatever_was_imported_before() -> None:
    for name in switchyard.routing.__all__:
        value = getattr(switchyard.routing, name)
        assert getattr(value, "__name__", name) == name
    with pytest.raises(AttributeError, match="nothing"):
        _ = switchyard.routing.nothing


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_where_the_table_says(name: str) -> None:
    module, _, class_name = RULES[name].home.partition(":")
    rule = getattr(importlib.import_module(module), class_name)
    assert callable(rule.select)
    assert module == rule_module(name)
