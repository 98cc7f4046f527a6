import itertools

import altair as alt
import numpy as np
import pandas as pd
import pytest
import yaml

from switchyard.charts import looks, marks, style

STUDIES = {
    "default": {"controls": True},
    "all rules": {"controls": True, "others": True},
    "nulls and weightings": {"factors": True},
}
PROTANOPIA = [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
]
DEUTERANOPIA = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
]
"""Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB."""


def looks_of(tables):
    """`configurations` with the shape, edge and fill that the study's scales give each."""
    found, configs = looks.scales(tables), looks.configurations(tables)
    return configs.assign(
        shape=configs["kind"].map(found.shapes),
        edge=configs["family"].map(found.hues),
        colour=configs["fill"].map(found.fills),
    )


@pytest.mark.parametrize("study", STUDIES)
def test_every_adaptive_configuration_looks_different(made_up, study):
    found = looks_of(made_up(**STUDIES[study]))
    adaptive = found[~found["static"] & ~found["control"]]
    assert len(adaptive) >= 24
    assert not adaptive[["colour", "edge", "shape"]].duplicated().any()


def test_static_rules_are_one_family_of_ink_and_controls_are_grey(made_up):
    found = looks_of(made_up(controls=True, others=True))
    static, controls = found[found["static"]], found[found["control"]]
    assert static["edge"].unique().tolist() == [style.INK] and static["shape"].unique().tolist() == ["square"]
    assert static["colour"].unique().tolist() == ["#ffffff"]
    assert list(static["k_or_max_k"]) == [1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64]
    assert controls["edge"].unique().tolist() == controls["colour"].unique().tolist() == [style.GREY]
    assert controls.groupby("routing_type")["shape"].nunique().to_dict() == {
        "mixed_topk": 1,
        "random_count": 1,
    }


def test_hue_is_max_k_until_the_null_is_another(made_up):
    edge = looks_of(made_up(controls=True)).set_index("config_name")["edge"]
    assert edge["8experts_bh_a030"] == edge["8experts_bh_budget_k4"] != edge["16experts_bh_a030"]
    unselected = edge["8experts_bh_budget_k4_unselected"]
    assert unselected not in {edge[f"{cap}experts_bh_a030"] for cap in (8, 16, 32, 64)}


def test_in_a_study_of_nulls_hue_is_the_null_and_shape_the_weighting(made_up):
    found = looks_of(made_up(factors=True))
    bh = found[found["routing_type"] == "bh"]
    assert bh.groupby("null_name")["edge"].nunique().eq(1).all() and bh["edge"].nunique() == 9
    assert bh.groupby("weighting")["shape"].nunique().eq(1).all() and bh["shape"].nunique() == 3


def test_a_rule_that_the_style_does_not_know_gets_a_mark_left_over(made_up):
    tables = made_up(controls=True)
    names = tables.configurations["routing_type"].replace({"bh_budget": "later_rule"})
    tables.configurations["routing_type"] = names
    found = looks_of(tables)
    later = set(found.loc[found["routing_type"] == "later_rule", "shape"])
    assert len(later) == 1 and not later & {"square", "circle"}


def test_another_floor_has_another_shape(made_up):
    tables = made_up()
    floor = tables.configurations["min_k"].where(tables.configurations["k_or_max_k"] != 64, 0)
    tables.configurations["min_k"] = floor
    bh = looks_of(tables).query("routing_type == 'bh'")
    assert set(bh.loc[bh["min_k"] == 0, "kind"]) == {"BH α, min 0"}
    assert not set(bh.loc[bh["min_k"] == 0, "shape"]) & set(bh.loc[bh["min_k"] == 1, "shape"])


def test_a_configuration_looks_the_same_in_every_table(made_up):
    tables = made_up()
    frames = [
        looks.styled(tables, frame, "dataset")
        for frame in (tables.results, tables.layers, tables.differences)
    ]
    for frame in frames:
        assert (frame.groupby("config_name")[["fill", "family", "kind"]].nunique() == 1).all(axis=None)
    first, *others = [
        frame.drop_duplicates("config_name").set_index("config_name")["fill"] for frame in frames
    ]
    assert all(first[name] == fill for other in others for name, fill in other.items())


def test_darker_means_larger_alpha(made_up):
    found = looks_of(made_up())
    family = found[(~found["static"]) & (found["k_or_max_k"] == 8)].sort_values("alpha")
    brightness = [
        sum(int(colour[place : place + 2], 16) for place in (1, 3, 5)) for colour in family["colour"]
    ]
    assert brightness == sorted(brightness, reverse=True) and len(set(brightness)) == 4


def test_one_value_means_one_lightness_whatever_the_rule(made_up):
    tables = made_up(controls=True, others=True)
    shades = looks.scales(tables).shades
    assert shades["α 0.30"] == pytest.approx(1 - looks.PALEST) and shades["α 0.60"] == 1
    assert {"mean 4", "γ 0.05", "top-p 0.20"} <= set(shades)


def test_one_alpha_has_the_full_colour(made_up):
    found = looks_of(made_up(caps=(8,), alphas=(0.3,)))
    adaptive = found[~found["static"]].iloc[0]
    assert adaptive["colour"].lower() == adaptive["edge"].lower()


def test_a_choice_in_a_legend_fades_the_others():
    """A condition on the words `pick` instead of the selection would be true for ever."""
    faded = marks.faded(0.1).to_dict()
    test = {"and": [{"param": name} for name in ("picked_rule", "picked_family", "picked_setting")]}
    assert faded == {"condition": {"test": test, "value": 1.0}, "value": 0.1}


def test_legends_name_what_is_drawn_and_answer_to_clicks(made_up):
    tables = made_up(controls=True)
    shown = looks.configurations(tables).query("routing_type == 'bh'")["config_name"]
    legends, points = marks.points(alt.Chart(), tables, name="one", shown=shown)
    encoding = legends.to_dict()["encoding"]
    assert encoding["shape"]["legend"]["values"] == ["BH α"]
    assert encoding["stroke"]["legend"]["values"] == ["8", "16", "32", "64"]
    assert encoding["opacity"]["legend"]["values"] == [
        f"α {alpha}" for alpha in ("0.30", "0.40", "0.50", "0.60")
    ]
    params = marks.clickable(alt.layer(legends, points, data=pd.DataFrame()), "one").to_dict()["params"]
    assert [param["select"]["fields"] for param in params] == [["kind"], ["family"], ["setting"]]
    assert all(param["bind"] == "legend" and param["views"] == ["one_legends"] for param in params)


def test_defaults_are_those_of_the_schema(pytestconfig):
    schema = yaml.safe_load((pytestconfig.rootpath / "config.schema.yaml").read_text())["$defs"]
    defaults = {
        "null_name": schema["null_distribution"]["default"],
        "weighting": schema["weighting"]["default"],
        "min_k": schema["floor"]["default"],
    }
    assert defaults == looks.DEFAULTS


def seen_as(colour, matrix):
    """CIE L*a*b* of a colour for an eye that `matrix` describes."""
    channels = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(matrix) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ seen / np.array([0.9505, 1.0, 1.089])
    bent = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * bent[1] - 16, 500 * (bent[0] - bent[1]), 200 * (bent[1] - bent[2])])


@pytest.mark.parametrize("matrix", [np.eye(3), PROTANOPIA, DEUTERANOPIA], ids=["usual", "protan", "deutan"])
def test_hues_stay_apart_for_colour_blind_eyes(matrix):
    """A difference of 15 in L*a*b* is plain to see for marks of this size; blue and Tol's purple had 8."""
    pairs = itertools.combinations([*style.HUES, style.INK], 2)
    nearest = min(np.linalg.norm(seen_as(a, matrix) - seen_as(b, matrix)) for a, b in pairs)
    assert nearest > 15
