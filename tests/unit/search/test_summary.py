"""What a search comes to: the best of each method and space, shares, and the comparison with what was set by hand."""

from __future__ import annotations

import pytest

from reference import made_up_search
from reference import search as reference
from switchyard.artifacts.files import write_json
from switchyard.search.summary import summary


def found(**settings):
    manual = made_up_search.manual(**settings)
    return summary(made_up_search.rows(), made_up_search.SPACES, manual, made_up_search.validations())


def test_each_method_and_space_has_its_best_feasible_point():
    rows = made_up_search.rows()
    for name, one in found()["spaces"].items():
        for method, own in one["by_method"].items():
            mine = rows[method][rows[method]["space"] == name]
            able = mine[mine["degradation"] <= reference.LIMIT]
            assert own["best"]["speed"] == able["speed"].max()
            assert set(own["best"]["point"]) == set(own["best"]["settings"])
            assert own["points"] == len(mine)
        every = sum(own["points"] for own in one["by_method"].values())
        assert one["points"] == every == (8 + 2 * 24) and 0 < one["computed"] <= every
        assert one["failed"] == pytest.approx(7 / 56)
        assert one["flat"] == pytest.approx(14 / 49)


def test_better_than_manual_is_said_either_way():
    searched = max(
        own["best"]["speed"] for own in found()["spaces"]["roadmap"]["by_method"].values()
    )  # BH is no configuration of VAR
    ours = found()["manual"]
    assert (ours["fastest"], ours["speed"], ours["better_than_manual"]) == ("custom", 1.01, "PASS")
    assert ours["searched_speed"] == searched
    for speed in (searched, searched + 0.1):
        assert found(speed=speed)["manual"]["better_than_manual"] == "FAIL"


def test_a_manual_configuration_beyond_the_limit_does_not_count():
    manual = made_up_search.manual(speed=9.0)
    manual["custom"]["tuning"]["within_limit"] = "FAIL"
    one = summary(made_up_search.rows(), made_up_search.SPACES, manual, made_up_search.validations())[
        "manual"
    ]
    assert (one["fastest"], one["speed"]) == ("balanced", 1.0)


def test_methods_are_compared_in_each_space():
    methods = found()["methods"]
    assert set(methods) == {"roadmap", "bh"}
    assert all(one["seeds"] == 3 and one["budget"] == 8 for one in methods.values())
    rows = {"grid": made_up_search.rows()["grid"]}
    alone = summary(rows, made_up_search.SPACES, made_up_search.manual(), {})
    assert alone["methods"] == {"roadmap": None, "bh": None}


def test_a_search_in_which_all_failed_is_json(tmp_path):
    rows = made_up_search.rows(fails=True)
    one = summary(rows, made_up_search.SPACES, made_up_search.manual(), made_up_search.validations())
    assert one["spaces"]["roadmap"]["by_method"]["grid"]["best"] is None
    assert one["spaces"]["roadmap"]["flat"] is None and one["manual"]["better_than_manual"] == "FAIL"
    write_json(tmp_path / "summary.json", one)
