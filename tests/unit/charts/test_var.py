"""The figures of VAR: what is drawn is what the comparison and the sweep say."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pandas as pd
import pytest
import vl_convert

from reference import made_up_var
from switchyard.charts.names import VAR
from switchyard.charts.save import Figure
from switchyard.charts.var.comparison import var_comparison
from switchyard.charts.var.measured import FOUND, OPEN, paths, qualities, speeds
from switchyard.charts.var.sweep import LIVE, NO_KEY, OWN, STATIC, STORED, series, var_sweep


def rendered(chart: Any) -> str:
    """The drawing's text."""
    chart = chart.drawing if isinstance(chart, Figure) else chart
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = vl_convert.vegalite_to_svg(chart.to_dict())
    return "|".join(re.findall(r">([^<>]+)<", svg))


@pytest.fixture(scope="module")
def sweep() -> pd.DataFrame:
    return made_up_var.sweep()


def test_every_number_of_the_comparison_is_drawn() -> None:
    found = made_up_var.comparisons()
    quality = qualities(found).set_index(["config", "view"])
    assert quality.loc[("custom", "tuning"), "value"] == 0.125
    assert quality.loc[("custom", "tuning"), ["low", "high"]].tolist() == pytest.approx([0.115, 0.135])
    assert quality["verdict"].tolist() == [OPEN] * 4 + [FOUND] * 2
    shares = paths(found).set_index(["config", "view", "path"])["share"].sort_index()
    assert shares[("custom", "tuning-cloze")].to_dict() == pytest.approx(
        {"fast": 0.3, "cached": 0.05, "learned": 0.65}
    )
    assert shares.groupby(level=[0, 1]).sum().tolist() == pytest.approx([1.0] * 6)
    timed = speeds(found)
    assert len(timed) == 9 and set(timed["verdict"]) == {FOUND} and set(timed["value"]) == {1.3}


def test_the_comparison_names_configurations_sets_paths_and_both_landmarks() -> None:
    text = rendered(var_comparison(made_up_var.comparisons()))
    for word in (
        *made_up_var.CONFIGS,
        *made_up_var.DATASETS,
        "fast",
        "cached",
        "learned",
        "prefill",
        "1.2",
        FOUND,
    ):
        assert f"|{word}|" in text, word
    assert "NaN" not in text and "undefined" not in text


def test_without_speed_the_comparison_has_two_rows() -> None:
    chart = var_comparison(made_up_var.comparisons(timed=False))
    assert len(chart.to_dict()["vconcat"]) == 2
    assert "prefill" not in rendered(chart)


def test_a_comparison_without_intervals_is_drawn() -> None:
    found = made_up_var.comparisons()
    for one in found:
        one["quality"]["perplexity_change_interval"] = [None, None]
        one["speed"] = {
            name: {**measured, "interval": [None, None]} for name, measured in one["speed"].items()
        }
    assert set(speeds(found)["verdict"]) == {OPEN}
    assert "NaN" not in rendered(var_comparison(found))


def test_series_are_told_apart_by_where_experts_and_weights_come_from(sweep) -> None:
    found = series(sweep)
    assert len(found) == len(sweep) - 1
    names = ["table, 2 experts", "table, 1 expert", "cache, keys of 5 tokens", "cache, keys of 1 token"]
    assert list(dict.fromkeys(found["what"])) == [*names, STATIC, NO_KEY]
    assert found.groupby("weights").size().to_dict() == {STORED: 6, LIVE: 8, OWN: 2}
    assert found.loc[found["what"] == STATIC, "label"].tolist() == ["top-1", "top-2"]


def test_the_sweep_draws_every_point_in_every_view_that_it_belongs_to(sweep) -> None:
    points = len(sweep) - 1
    for chart in var_sweep(sweep):
        spec = chart.to_dict()
        sizes = [max(len(rows) for rows in data_of(view, spec["datasets"])) for view in spec["concat"]]
        assert sizes == [points - 2, points, points - 2]


def data_of(view: dict[str, Any], datasets: dict[str, list]) -> list[list]:
    """The rows that the marks of a view are drawn from."""
    names = {part["data"]["name"] for part in parts_of(view) if "name" in part.get("data", {})}
    return [datasets[name] for name in names]


def parts_of(view: dict[str, Any]) -> list[dict[str, Any]]:
    return [view, *(part for layer in view.get("layer", []) for part in parts_of(layer))]


def test_the_sweep_names_series_weights_and_static_rules(sweep) -> None:
    text = rendered(var_sweep(sweep))
    for word in (
        "table, 2 experts",
        "cache, keys of 1 token",
        STATIC,
        NO_KEY,
        STORED,
        LIVE,
        OWN,
        "top-1",
        "top-2",
    ):
        assert f"|{word}|" in text, word
    assert "NaN" not in text and "undefined" not in text


def test_a_sweep_in_which_nothing_acts_is_drawn() -> None:
    assert "NaN" not in rendered(var_sweep(made_up_var.sweep(acts=False)))


def test_every_figure_has_a_caption(pytestconfig) -> None:
    captions = {path.stem for path in (pytestconfig.rootpath / "reports" / "captions").glob("*.rst")}
    assert {*VAR, "var"} <= captions
