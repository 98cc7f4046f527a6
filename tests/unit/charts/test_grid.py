import dataclasses

import pytest

from switchyard.charts.grid import MOST, grid


def without(tables, *rules):
    """The tables with no row of some rules."""
    kept = tables.configurations.loc[~tables.configurations["routing_type"].isin(rules), "config_name"]
    frames = {field.name: getattr(tables, field.name) for field in dataclasses.fields(tables)}
    return dataclasses.replace(
        tables, **{name: frame[frame["config_name"].isin(kept)] for name, frame in frames.items()}
    )


@pytest.fixture
def default(made_up):
    return made_up(controls=True, others=True)


def test_the_default_grid_is_bh_over_alpha_by_max_k(default):
    study = grid(default)
    assert study.members == ["8", "16", "32", "64"] and study.dimension == "max_k"
    assert study.values == ["0.30", "0.40", "0.50", "0.60"] and study.short == "α"
    assert set(study.configs["routing_type"]) == {"bh"} and len(study.configs) == 16 and study.note == ""


def test_a_study_of_nulls_and_weightings_shows_every_null_and_says_what_it_leaves_out(made_up):
    study = grid(made_up(factors=True))
    assert len(study.members) == 9 <= MOST and study.dimension == "null"
    assert set(study.configs["weighting"]) == {"model"} and study.note == "weighting model only"


def test_without_bh_the_first_adaptive_rule_is_the_grid(default):
    assert set(grid(without(default, "bh")).configs["routing_type"]) == {"bh_budget"}
    study = grid(without(default, "bh", "bh_budget", "by"))
    assert study.name == "HC γ" and study.values == ["0.05", "0.10", "0.20"]


def test_without_adaptive_rules_the_grid_is_empty(made_up):
    study = grid(made_up(alphas=()))
    assert study.members == study.values == [] and study.short == ""


def test_rows_belong_to_the_grid(default):
    rows = grid(default).rows(default.results)
    assert set(rows["routing_type"]) == {"bh"} and len(rows) == 16 * 3
    assert (rows["member"] == rows["k_or_max_k"].astype(str)).all()
