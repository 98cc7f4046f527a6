"""Rules by name, and the names of configurations."""

from __future__ import annotations

import subprocess
import sys

import pytest

import switchyard.routing
from switchyard.errors import InputError
from switchyard.routing.nulls import NullDistribution
from switchyard.routing.registry import RULES, alpha_percent, config_name, make_rule, rule_module
from switchyard.routing.topk import TopK

NULL = [NullDistribution([0.0, 1.0], [0.0, 1.0])]


def test_makes_rules() -> None:
    assert make_rule("topk", k=8) == TopK(8)
    rule = make_rule("bh", alpha=0.3, max_k=16, null=NULL)
    assert (rule.alpha, rule.max_k, rule.min_k) == (0.3, 16, 1)
    assert rule_module("bh") == "switchyard.routing.bh"


def test_names() -> None:
    assert config_name("topk", {"k": 8}) == "8experts_topk_baseline"
    assert config_name("bh", {"max_k": 16, "alpha": 0.3}) == "16experts_bh_a030"
    assert config_name("bh", {"max_k": 8, "alpha": 0.29, "min_k": 1}) == "8experts_bh_a029"


def test_every_hundredth_has_its_percent() -> None:
    assert [alpha_percent(n / 100) for n in range(1, 100)] == list(range(1, 100))


@pytest.mark.parametrize("alpha", [0.0, 1.0, 30, 0.305, -0.1, 0.001, float("nan"), float("inf")])
def test_refuses_other_levels(alpha: float) -> None:
    with pytest.raises(InputError, match=r"multiple of 0\.01"):
        make_rule("bh", alpha=alpha, max_k=8, null=NULL)
    with pytest.raises(InputError, match=r"multiple of 0\.01"):
        config_name("bh", {"max_k": 8, "alpha": alpha})


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("topp", {}, "use one of topk, bh"),
        ("topk", {"K": 8}, "K"),
        ("topk", {}, "'k'"),
        ("bh", {"alpha": 0.3, "max_k": 8}, "null"),
    ],
)
def test_refuses(name: str, settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_rule(name, **settings)


def test_a_name_needs_its_settings() -> None:
    with pytest.raises(InputError, match="max_k"):
        config_name("bh", {"alpha": 0.3})


def test_only_the_rule_asked_for_is_imported() -> None:
    code = (
        "import sys, switchyard.routing.registry as r; assert 'torch' not in sys.modules; "
        "r.make_rule('topk', k=1); assert 'switchyard.routing.bh' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_public_names_load_whatever_was_imported_before() -> None:
    for name in switchyard.routing.__all__:
        value = getattr(switchyard.routing, name)
        assert getattr(value, "__name__", name) == name
    assert all(module.startswith("switchyard.routing.") for module in RULES.values())
    with pytest.raises(AttributeError, match="nothing"):
        _ = switchyard.routing.nothing
