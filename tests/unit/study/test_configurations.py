"""What the named sets of a study span."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchyard.errors import InputError
from switchyard.study import config
from switchyard.study.configurations import Configuration, configurations
from switchyard.study.study import Study

ROOT = Path(__file__).parents[3]


VAR = ["var_conservative", "var_balanced", "var_aggressive"]


def of(model: str, found: list[Configuration]) -> list[Configuration]:
    return [one for one in found if one.model == model]


def test_the_default_study_has_the_sixty_and_their_controls(default: dict, schema: dict) -> None:
    found = of("pocket-olmoe", configurations(config.resolve(default, schema, ROOT)))
    sizes, levels = (8, 16, 32, 64), ("030", "040", "050", "060")
    baselines = [f"{k}experts_topk_baseline" for k in sizes]
    adaptive = [f"{k}experts_bh_a{level}" for k in sizes for level in levels]
    static = [f"{k}experts_topk_baseline" for k in range(1, 8)]
    budget = [f"8experts_bh_budget_k{k}{null}" for k in (4, 5, 6, 7) for null in ("", "_unselected")]
    names = [one.name for one in found]
    assert names[:27] == baselines + adaptive + static
    assert sorted(names[27:35]) == sorted(budget)
    assert [name for name in names if name.startswith("mixed")] == [
        f"mixed_topk_as_{name}" for name in adaptive + names[27:35]
    ]
    assert names[-3:] == VAR
    assert found[0].job == {
        "config": "8experts_topk_baseline",
        "home": "switchyard.routing.topk:TopK",
        "settings": {"k": 8, "weighting": "model"},
    }
    assert found[19].label == "BH α 0.60, max 64" and found[19].set_name == "bh"
    assert found[19].settings == {
        "max_k": 64,
        "alpha": 0.6,
        "min_k": 1,
        "null_distribution": "pooled",
        "weighting": "model",
    }


def test_the_default_study_has_a_second_model_with_static_rules(default: dict, schema: dict) -> None:
    found = configurations(config.resolve(default, schema, ROOT))
    assert [one.model for one in found] == ["pocket-olmoe"] * 65 + ["pocket-mixtral"] * 8
    assert [one.name for one in of("pocket-mixtral", found)] == [
        "1experts_topk_baseline",
        "2experts_topk_baseline",
        *(f"mixed_topk_k{k}" for k in (1.25, 1.5, 1.75)),
        *VAR,
    ]


# --- which models a set runs on

BH = {"rule": "bh", "max_k": 4, "alpha": 0.3}
OLMOE, MIXTRAL = "pocket-olmoe", "pocket-mixtral"


def pairs(default: dict, schema: dict, sets: dict) -> list[tuple[str, str]]:
    """(model, set) of every configuration of the two models, for these sets."""
    found = configurations(config.resolve({**default, "routing": sets}, schema, ROOT))
    return [(one.model, one.set_name) for one in found]


@pytest.mark.parametrize("models", [{}, {"models": None}, {"models": [MIXTRAL, OLMOE]}])
def test_a_set_without_models_runs_on_all_in_the_order_of_the_evaluation(
    models: dict, default: dict, schema: dict
) -> None:
    sets = {"bh": {**BH, **models}, "top": {"rule": "topk", "k": 2}}
    assert pairs(default, schema, sets) == [(OLMOE, "bh"), (OLMOE, "top"), (MIXTRAL, "bh"), (MIXTRAL, "top")]


def test_a_set_with_models_runs_on_those(default: dict, schema: dict) -> None:
    sets = {"bh": {**BH, "models": [MIXTRAL]}, "top": {"rule": "topk", "k": 2}}
    assert pairs(default, schema, sets) == [(OLMOE, "top"), (MIXTRAL, "bh"), (MIXTRAL, "top")]


@pytest.mark.parametrize(
    ("models", "matched"),
    [
        (None, [(OLMOE, "bh"), (MIXTRAL, "bh"), (MIXTRAL, "p")]),
        ([MIXTRAL], [(MIXTRAL, "bh"), (MIXTRAL, "p")]),
    ],
)
def test_a_matched_set_follows_the_models_of_those_that_it_matches(
    models: list | None, matched: list, default: dict, schema: dict
) -> None:
    default["routing"] = {
        "bh": BH,
        "p": {"rule": "top_p", "p": 0.3, "max_k": 4, "models": [MIXTRAL]},
        "mixed": {"rule": "mixed_topk", "match": ["bh", "p"], "models": models},
    }
    found = configurations(config.resolve(default, schema, ROOT))
    names = {(one.model, one.name): one.set_name for one in found}
    mixed = [one for one in found if one.set_name == "mixed"]
    assert [(one.model, names[one.model, one.settings["matched"]]) for one in mixed] == matched


def test_the_same_configuration_on_two_models_differs_in_the_model_alone(default: dict, schema: dict) -> None:
    default["routing"] = {"bh": BH}
    one, other = configurations(config.resolve(default, schema, ROOT))
    assert one._replace(model=MIXTRAL) == other and one.job == other.job
    assert one.described == {**other.described, "model": OLMOE}


@pytest.mark.parametrize(("k", "most"), [(2, 2), (1.25, 2), (7.5, 8)])
def test_a_mean_between_two_numbers_needs_the_larger(
    k: float, most: int, default: dict, schema: dict
) -> None:
    rule = "topk" if k == int(k) else "mixed_topk"
    default["routing"] = {"one": {"rule": rule, "k": k}}
    assert {one.most_experts for one in configurations(config.resolve(default, schema, ROOT))} == {most}


def test_one_alpha_more_is_four_configurations_more_and_their_partners(default: dict, schema: dict) -> None:
    before = configurations(config.resolve(default, schema, ROOT))
    default["routing"]["bh"]["alpha"].append(0.29)
    after = configurations(config.resolve(default, schema, ROOT))
    new = [f"{k}experts_bh_a029" for k in (8, 16, 32, 64)]
    assert [one.name for one in after if one not in before] == new + [f"mixed_topk_as_{n}" for n in new]
    assert [one for one in after if one in before] == before


def test_scalars_and_lists_of_one_are_the_same(default: dict, schema: dict) -> None:
    default["routing"] = {"one": {"rule": "bh", "max_k": 4, "alpha": 0.3, "min_k": 1}}
    scalar = configurations(config.resolve(default, schema, ROOT))
    default["routing"]["one"] |= {"max_k": [4], "alpha": [0.3]}
    assert configurations(config.resolve(default, schema, ROOT)) == scalar and len(scalar) == 2


def test_a_matched_configuration_has_its_partners_weighting(default: dict, schema: dict) -> None:
    default["routing"] = {
        "one": {"rule": "bh", "max_k": 4, "alpha": 0.3, "weighting": ["model", "sum_to_one"]},
        "mixed": {"rule": "mixed_topk", "match": ["one", "off"]},
        "off": {"rule": "top_p", "p": 0.3, "max_k": 4, "enabled": False},
    }
    matched = of("pocket-olmoe", configurations(config.resolve(default, schema, ROOT)))[2:]
    assert [one.name for one in matched] == [
        "mixed_topk_as_4experts_bh_a030",
        "mixed_topk_as_4experts_bh_a030_sum_to_one",
    ]
    assert [one.settings for one in matched] == [
        {"matched": "4experts_bh_a030", "weighting": "model"},
        {"matched": "4experts_bh_a030_sum_to_one", "weighting": "sum_to_one"},
    ]
    assert matched[1].label == "mixed top-k as BH α 0.30, max 4, sum_to_one"
    assert matched[1].described["matched"] == "4experts_bh_a030_sum_to_one"


@pytest.mark.parametrize("named", ["nothing", "mixed"])
def test_a_set_cannot_be_matched_with_one_that_has_no_settings(
    default: dict, schema: dict, named: str
) -> None:
    default["routing"]["mixed"] = {"rule": "mixed_topk", "match": [named]}
    with pytest.raises(InputError, match=rf"routing.mixed.match: '{named}' is no set .* baselines, bh"):
        config.resolve(default, schema, ROOT)


def test_the_inspector_shows_the_first_of_each_set_or_what_is_asked_for(default: dict, schema: dict) -> None:
    shown = Study(config.resolve(default, schema, ROOT), ROOT).inspected("pocket-olmoe")
    assert shown[:3] == ["8experts_topk_baseline", "8experts_bh_a030", "1experts_topk_baseline"]
    assert len(shown) == 7
    shown = Study(config.resolve(default, schema, ROOT), ROOT).inspected("pocket-mixtral")
    assert shown == ["1experts_topk_baseline", "mixed_topk_k1.25", "var_conservative"]
    default["inspector"]["configurations"] = ["64experts_bh_a060"]
    assert Study(config.resolve(default, schema, ROOT), ROOT).inspected("pocket-olmoe") == [
        "64experts_bh_a060"
    ]
    default["inspector"]["configurations"] = ["64experts_bh_a061"]
    with pytest.raises(InputError, match="inspector.configurations: '64experts_bh_a061' is no configuration"):
        config.resolve(default, schema, ROOT)
