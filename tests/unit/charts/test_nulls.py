"""The figures and the page of the nulls' check, drawn from what the check itself finds."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import vl_convert

from switchyard.charts.nulls import null_histograms, simes_check
from switchyard.errors import InputError
from switchyard.reporting.pages import write_null_summary
from switchyard.routing.null_check import LEVELS, histograms, summary
from switchyard.routing.null_names import NULLS
from switchyard.routing.nulls import NullDistribution

LAYERS = 3


def drawn(chart) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return vl_convert.vegalite_to_svg(chart.to_dict())


@pytest.fixture(scope="module")
def found():
    """Summary and histograms of the nine nulls, each wider than the one before."""
    rng = np.random.default_rng(0)
    logits = [rng.random((80, 8)).astype(np.float32) for _ in range(LAYERS)]
    nulls = {
        name: [NullDistribution(np.array([0.0, 1.0 + width / 4]), np.array([0.0, 1.0]))] * LAYERS
        for width, name in enumerate(NULLS)
    }
    return summary(logits, nulls, LEVELS, top_k=2).to_pandas(), histograms(logits, nulls).to_pandas()


@pytest.mark.parametrize("draw", [simes_check, null_histograms])
def test_a_view_for_each_null_and_a_key_for_the_layers(found, draw):
    svg = drawn(draw(found[draw is null_histograms]))
    assert all(svg.count(f">{name}<") == 1 for name in NULLS)
    assert svg.count(">layer<") == 1
    assert "NaN" not in svg and "undefined" not in svg


@pytest.mark.parametrize("draw", [simes_check, null_histograms])
def test_nulls_may_be_chosen_and_ordered(found, draw):
    svg = drawn(draw(found[draw is null_histograms], nulls=["unselected", "pooled"]))
    assert svg.index(">unselected<") < svg.index(">pooled<")
    assert ">empirical<" not in svg


def test_the_simes_check_draws_shares_and_what_chance_gives(found):
    spec = simes_check(found[0]).to_dict()
    lines, chance = (
        pd.DataFrame(spec["datasets"][data["name"]])
        for data in (spec["data"], spec["spec"]["layer"][1]["data"])
    )
    assert spec["facet"]["field"] == "null" and spec["facet"]["sort"] == list(NULLS)
    for name in NULLS:
        own = found[0][found[0]["null"] == name]
        assert (
            lines.loc[lines["null"] == name, "no_rejection_share"].tolist()
            == own["no_rejection_share"].tolist()
        )
    assert set(lines["layer"]) == set(range(LAYERS))
    assert (chance["alpha"] + chance["no_rejection_share"]).tolist() == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("draw", [simes_check, null_histograms])
def test_all_views_have_the_same_axes(found, draw):
    spec = draw(found[draw is null_histograms]).to_dict()
    assert "resolve" not in spec
    assert all("domain" in spec["spec"]["layer"][0]["encoding"][channel]["scale"] for channel in ("x", "y"))


def test_a_single_layer_null_and_level(found):
    one = found[0].query("layer == 0 and null == 'pooled' and alpha == 0.3")
    assert "NaN" not in drawn(simes_check(one))


@pytest.mark.parametrize(
    "draw, column, name", [(simes_check, "alpha", "null summary"), (null_histograms, "share", "null check")]
)
def test_a_table_without_its_columns_is_told(found, draw, column, name):
    with pytest.raises(InputError, match=f"{name}: no column {column}; run the calibrate stage again"):
        draw(found[draw is null_histograms].drop(columns=column))


def test_the_page_shows_every_column(found, tmp_path):
    path = tmp_path / "null_summary.html"
    frame = found[0].head(1).assign(floor_share=0.123, cap_share=0.456)
    write_null_summary(path, frame)
    text = path.read_text(encoding="utf-8").replace("<wbr>", "")
    assert all(f">{column}</th>" in text for column in frame.columns)
    assert ">12.3%<" in text and ">45.6%<" in text and ">95.0%<" in text
