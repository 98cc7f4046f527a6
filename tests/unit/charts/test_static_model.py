"""Figures of a model on which no adaptive rule ran: what only adaptive rules have is said in words."""

import dataclasses
import warnings

import pytest
import vl_convert

from reference import made_up_study
from switchyard.charts.frontier import UNMATCHED
from switchyard.charts.panel import NOT_ADAPTIVE
from switchyard.charts.panels import PANELS
from switchyard.charts.save import Figure
from switchyard.charts.whole import WHOLE
from switchyard.warehouse.study_tables import FILES, Tables

FIGURES = {**WHOLE, **PANELS}
ADAPTIVE = ("heatmap", "floor_ceiling")
"""Panels of adaptive rules alone."""


def static_tables(number=None):
    """Tables with the first static rules alone, the trained one among them; None: all of them."""
    tables = Tables(**made_up_study.tables(datasets=("held_out_text",)))
    static = tables.configs.loc[tables.configs["static"], "config_name"].tolist()[:number]
    frames = {name: getattr(tables, name) for name in FILES}
    return dataclasses.replace(
        tables, **{name: frame[frame["config_name"].isin(static)] for name, frame in frames.items()}
    )


def drawn(chart):
    chart = chart.drawing if isinstance(chart, Figure) else chart
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return vl_convert.vegalite_to_svg(chart.to_dict())


@pytest.fixture(scope="module")
def figures():
    """Every figure of a model with its static rules."""
    return {name: drawn(draw(static_tables())) for name, draw in FIGURES.items()}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_shows_marks_or_says_why_not(name, figures):
    svg = figures[name]
    assert not any(word in svg for word in ("NaN", "undefined", "Infinity"))
    words = NOT_ADAPTIVE in svg or UNMATCHED in svg or "no dataset" in svg
    assert words or svg.count("<path aria-label") >= 3


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_panel_of_adaptive_rules_says_that_there_are_none(name, figures):
    assert NOT_ADAPTIVE in figures[name]


def test_the_trained_rule_alone_is_compared_with_nothing():
    tables = static_tables(1)
    assert list(tables.configs["config_name"]) == ["8experts_topk_baseline"]
    trained = dataclasses.replace(
        static_tables(2), configurations=tables.configurations, results=tables.results
    )
    svg = drawn(WHOLE["paired_differences"](trained))
    assert "only top-8 and its controls on this model" in svg
    assert "difference of loss" not in svg


@pytest.mark.parametrize("name", FIGURES)
def test_a_model_with_a_single_configuration_is_drawn(name):
    tables = static_tables(1)
    tables = dataclasses.replace(tables, differences=tables.differences.iloc[:0])
    svg = drawn(FIGURES[name](tables))
    assert not any(word in svg for word in ("NaN", "undefined", "Infinity"))
