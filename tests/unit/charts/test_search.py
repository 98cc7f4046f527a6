"""Figures of the search: every series and space is drawn, and nothing is undefined."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
import vl_convert

from reference import made_up_search
from reference import search as reference
from switchyard.charts.names import ABLATION, SEARCH
from switchyard.charts.search.ablation import ablation, compared
from switchyard.charts.search.frontier import frontier, points, search_frontier
from switchyard.charts.search.sensitivity import banded, search_sensitivity
from switchyard.charts.search.trajectory import best_so_far, search_trajectory


def rendered(chart: Any) -> str:
    """The drawing's text."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = vl_convert.vegalite_to_svg(chart.to_dict())
    return "|".join(re.findall(r">([^<>]+)<", svg))


def test_the_best_so_far_equals_the_reference():
    rows = made_up_search.rows()
    frame = best_so_far(rows)
    assert len(frame) == sum(map(len, rows.values()))
    for key, own in frame.groupby(["method", "space", "seed"]):
        every = rows[key[0]]
        mine = every[(every["space"] == key[1]) & (every["seed"] == key[2])]
        expected = [one or 1.0 for one in reference.best_so_far(mine.to_dict("records"))]
        assert own["best"].tolist() == [one - 1.0 for one in expected]
    text = rendered(search_trajectory(rows, 0.005))
    for word in ("bayesian", "random", "grid", "space: roadmap", "space: bh"):
        assert f"|{word}|" in text, word


def test_the_frontier_equals_the_reference_and_failed_points_are_not_drawn():
    rows = made_up_search.rows()
    frame = points(rows)
    assert len(frame) == sum(one["objective"].notna().sum() for one in rows.values())
    own = frame[frame["space"] == "bh"]
    pairs = list(zip(own["degradation"], own["speed"]))
    found = frontier(own)
    assert set(zip(found["degradation"], found["speed"])) == reference.frontier(pairs)
    manual = made_up_search.manual()
    text = rendered(search_frontier(rows, manual, 0.005))
    assert "|manual|" in text and "NaN" not in text and "undefined" not in text


def test_bands_are_two_deviations_and_every_dimension_is_drawn():
    table = made_up_search.sensitivity()
    found = banded(table)
    assert (found["high"] - found["low"]).tolist() == pytest.approx([2 * 1.96 * 0.0625] * len(table))
    text = rendered(search_sensitivity(table))
    for space in made_up_search.SPACES:
        for name in space.names:
            assert f"|{name.replace('_', ' ')}|" in text, name
    assert "NaN" not in text and "undefined" not in text


def test_every_component_is_drawn_but_the_one_that_failed():
    table = made_up_search.ablation()
    text = rendered(ablation(table))
    for words in (
        "VAR, var_one",
        "Benjamini-Hochberg, bh_one",
        "fast path",
        "cache",
        "test",
        "weighting model",
    ):
        assert f"|{words}|" in text, words
    assert "|min_k|" not in text and "NaN" not in text and "undefined" not in text
    assert len(compared(table)) == 4


def test_a_search_in_which_all_failed_is_drawn():
    rows = made_up_search.rows(fails=True)
    for chart in (search_trajectory(rows, 0.005), search_frontier(rows, made_up_search.manual(), 0.005)):
        assert "NaN" not in rendered(chart)


def test_every_figure_has_a_caption(pytestconfig):
    captions = {path.stem for path in (pytestconfig.rootpath / "reports" / "captions").glob("*.rst")}
    assert {*SEARCH, ABLATION, "search"} <= captions
