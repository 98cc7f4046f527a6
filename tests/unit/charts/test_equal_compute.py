"""Figures of the comparison at equal compute."""

import warnings

import pytest
import vl_convert

from switchyard.charts.frontier import UNMATCHED, differences, frontier
from switchyard.charts.save import Figure
from switchyard.charts.verdicts import ACCURACY, LEAST, LOSS, cells, verdicts


def drawn(chart):
    chart = chart.drawing if isinstance(chart, Figure) else chart
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return vl_convert.vegalite_to_svg(chart.to_dict())


@pytest.mark.parametrize("draw", [frontier, verdicts])
def test_a_study_without_partners_is_told_in_words(made_up, draw):
    svg = drawn(draw(made_up("tied")))
    assert UNMATCHED in svg and "NaN" not in svg and "undefined" not in svg


@pytest.mark.parametrize("study", [{"controls": True}, {"factors": True}], ids=["default", "factors"])
@pytest.mark.parametrize("draw", [frontier, verdicts])
def test_drawn_without_a_flaw(made_up, draw, study):
    svg = drawn(draw(made_up("varied", datasets=("held_out_text", "choice"), **study)))
    assert "NaN" not in svg and "undefined" not in svg and "Infinity" not in svg
    assert UNMATCHED not in svg


def test_what_is_not_distinguishable_is_hollow_and_pale(made_up):
    tables = made_up("varied", controls=True)
    frame = differences(tables)
    assert (frame["found"] == (frame["loss_verdict"] != "not distinguishable")).all()
    assert 0 < frame["found"].sum() < len(frame) == 24 * 3
    below = frontier(tables).drawing.to_dict()["vconcat"][1]["spec"]["layer"]
    marks = next(layer["encoding"] for layer in below if "fill" in layer["encoding"])
    assert marks["fill"]["condition"]["test"] == "datum.found" and marks["fill"]["value"] == "#ffffff"
    assert marks["strokeOpacity"] == {"condition": {"test": "datum.found", "value": 1.0}, "value": 0.5}


def test_cells_have_a_colour_only_where_there_is_a_difference(made_up):
    tables = made_up("varied", controls=True)
    loss = cells(tables, LOSS)
    expected = {"worse": 1, "better": -1, "not distinguishable": 0}
    assert (
        loss["worse"].apply(lambda value: (value > 0) - (value < 0)) == loss["verdict"].map(expected)
    ).all()
    assert loss["worse"].abs().max() == pytest.approx(1.0) and len(loss) == 24 * 3
    assert loss.loc[loss["worse"] != 0, "worse"].abs().min() >= LEAST


def test_more_accurate_is_better(made_up):
    tables = made_up("wins", controls=True)
    frame = tables.equal_compute
    frame["accuracy_verdict"] = frame["accuracy_verdict"].where(frame["accuracy_difference"].isna(), "better")
    accuracy = cells(tables, ACCURACY)
    assert set(accuracy["dataset"]) == {"cloze", "choice"}
    assert accuracy["value"].to_numpy() == pytest.approx(2.0) and (accuracy["worse"] == -1.0).all()


def test_the_rows_of_a_set_stand_together_in_study_order(made_up):
    svg = drawn(verdicts(made_up("varied", controls=True, datasets=("cloze",))))
    for texts in (("BH α 0.30, max 8", "BH α 0.60, max 64", "BH to mean 4, max 8"), ("set bh", "set budget")):
        order = [svg.index(f">{words}<") for words in texts]
        assert order == sorted(order)


def test_the_frontier_ends_where_the_adaptive_rules_do(made_up):
    """Static rules far above the trained k have no partner to be compared with, and would take half the axis."""
    spec = frontier(made_up("varied", controls=True, datasets=("cloze",))).drawing.to_dict()
    names = {row["label"] for rows in spec["datasets"].values() for row in rows if "label" in row}
    assert {"top-1", "top-7", "top-8"} <= names and not {"top-16", "top-64"} & names
