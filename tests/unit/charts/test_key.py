import pandas as pd
import pytest

from switchyard.charts import style
from switchyard.charts.key import key


def layers(chart):
    return [layer.data for layer in chart.layer]


@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("study", [{"controls": True, "others": True}, {"factors": True}, {"alphas": ()}])
def test_every_configuration_has_its_own_place(made_up, study, across):
    tables = made_up(**study)
    looks = style.configurations(tables)
    chart = key(tables, across=across)
    marks = layers(chart)[0]
    assert sorted(marks["config_name"]) == sorted(looks.loc[~looks["control"], "config_name"])
    assert not marks[["x", "y"]].duplicated().any()
    words = pd.concat(layers(chart)[1:])
    assert marks["x"].between(0, chart.width).all() and marks["y"].between(0, chart.height).all()
    assert words["x"].between(0, chart.width).all() and words["y"].between(0, chart.height).all()


def test_controls_have_one_mark_each(made_up):
    tables = made_up(controls=True, others=True)
    chart = key(tables, style.configurations(tables))
    words = set(pd.concat(layers(chart))["text"].dropna())
    assert {"mixed static k", "random count"} <= words
    assert list(layers(chart)[1]["shape"]) == list(style.CONTROLS.values())
