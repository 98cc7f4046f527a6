import json
import warnings
from functools import cache

import pytest
import vl_convert

from reference import made_up_study
from switchyard.charts.differences import paired_differences
from switchyard.charts.names import FIGURES, STANDALONE
from switchyard.charts.nulls import null_histograms
from switchyard.charts.panels import BARE, PANELS, nine_panel
from switchyard.charts.save import Figure
from switchyard.charts.whole import WHOLE
from switchyard.errors import InputError

STUDIES = {
    "smoke": {
        "outcome": "wins",
        "caps": (4, 8),
        "alphas": (0.3, 0.5),
        "datasets": ("held_out_text",),
        "layers": 2,
    },
    "one of each": {"outcome": "tied", "caps": (8,), "alphas": (0.5,), "datasets": ("cloze",), "layers": 1},
    "static rules only": {"alphas": (), "datasets": ("choice",)},
    "deep": {"caps": (4, 8), "layers": 16, "datasets": ("held_out_text", "choice")},
    "controls": {"controls": True, "others": True, "datasets": ("choice",)},
    "nulls and weightings": {"factors": True, "alphas": (0.3, 0.6), "datasets": ("choice",)},
}


FAST = ("smoke", "one of each", "controls")
"""Studies whose figures are drawn in every run; the others belong to the slow tests."""


@pytest.fixture(scope="module")
def nine_panels(made_up):
    """A function: name of a study -> its figure as Vega-Lite. Each takes seconds, and is drawn once for all tests."""
    return cache(lambda study: nine_panel(made_up(**STUDIES[study])).drawing.to_dict())


def drawn(chart):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return vl_convert.vegalite_to_svg(chart if isinstance(chart, dict) else chart.to_dict())


@pytest.mark.parametrize("name", PANELS)
def test_each_panel_stands_alone(made_up, name):
    svg = drawn(PANELS[name](made_up(caps=(8, 16), datasets=("cloze",))))
    assert "NaN" not in svg and "undefined" not in svg and "Infinity" not in svg


@pytest.mark.parametrize(
    "study", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in STUDIES if name not in FAST)]
)
def test_the_figure_of_any_study(nine_panels, study):
    svg = drawn(nine_panels(study))
    assert "NaN" not in svg and "undefined" not in svg
    assert all(f">{number}. " in svg for number in range(1, len(BARE) + 1))


def test_names_are_the_charts_own_and_not_counted(nine_panels):
    """Names that Altair counts up would make the second figure of a process differ from the first."""
    assert nine_panels.__wrapped__("one of each") == nine_panels("one of each")


def test_names_without_charts():
    assert tuple(BARE) == FIGURES == tuple(PANELS)
    assert tuple(WHOLE) == STANDALONE


def test_every_figure_has_a_caption(pytestconfig):
    captions = {path.stem for path in (pytestconfig.rootpath / "reports" / "captions").glob("*.rst")}
    assert {*FIGURES, *STANDALONE} <= captions


def test_accuracy_starts_at_zero(made_up):
    layers = BARE["accuracy"](made_up()).to_dict()["spec"]["layer"]
    domains = [
        layer["encoding"]["y"]["scale"]["domain"] for layer in layers if "scale" in layer["encoding"]["y"]
    ]
    assert {domain[0] for domain in domains} == {0}


def test_paired_differences_leave_partners_out(made_up):
    svg = drawn(paired_differences(made_up(controls=True)))
    assert all(f">{words}<" in svg for words in ("top-1", "BH α 0.30, max 8", "BH to mean 4, max 8"))
    assert ">top-8<" not in svg and ">mixed" not in svg


def test_the_nine_panels_leave_partners_out(made_up, nine_panels):
    datasets = nine_panels("controls")["datasets"]
    labels = {row["label"] for rows in datasets.values() for row in rows if "label" in row}
    configurations = made_up(**STUDIES["controls"]).configurations
    assert labels == set(configurations.loc[configurations["matched"].isna(), "label"])


def test_a_configuration_looks_the_same_in_every_figure(made_up, nine_panels):
    """Its names of looks, and the scales that give the names their shapes and colours."""
    tables = made_up(**STUDIES["controls"])
    charts = {name: draw(tables) for name, draw in WHOLE.items() if draw is not nine_panel}
    specs = {
        name: (one.drawing if isinstance(one, Figure) else one).to_dict() for name, one in charts.items()
    }
    looks, scales = {}, {}
    for name, spec in {**specs, "nine_panel": nine_panels("controls")}.items():
        every = [row for data in spec["datasets"].values() for row in data]
        rows = [row for row in every if {"fill", "label", "family", "kind"} <= {*row}]
        assert len({row["label"] for row in rows}) >= 24, name
        for row in rows:
            looks.setdefault(row["label"], set()).add((row["fill"], row["family"], row["kind"]))
        for channel, field, scale in named_scales(spec):
            scales.setdefault((channel, field), set()).add(scale)
    assert all(len(different) == 1 for different in looks.values())
    assert {channel for channel, _ in scales} == {"fill", "stroke", "shape"}
    assert all(len(different) == 1 for different in scales.values())


def named_scales(spec):
    """(channel, field, domain and range) of every scale of configurations in a specification."""
    if isinstance(spec, list):
        return [found for part in spec for found in named_scales(part)]
    if not isinstance(spec, dict):
        return []
    own = [
        (channel, part["field"], json.dumps(part["scale"]))
        for channel in ("fill", "stroke", "shape")
        for whole in [spec.get("encoding", {}).get(channel, {})]
        for part in (whole, whole.get("condition", {}))
        if "scale" in part and "field" in part
    ]
    return own + [found for name, part in spec.items() if name != "encoding" for found in named_scales(part)]


def test_null_histograms_have_a_view_for_each_null():
    svg = drawn(null_histograms(made_up_study.null_check()))
    assert all(f">{name}<" in svg for name in ("pooled", "trimmed_8", "unselected", "empirical"))


def test_a_null_check_without_its_columns_is_told():
    with pytest.raises(InputError, match="null check: no column share"):
        null_histograms(made_up_study.null_check().drop(columns="share"))


def symbols(node, width=None, height=None):
    """Every symbol mark of a scenegraph with the size of the view that it stands in."""
    for item in node.get("items", []):
        if node.get("marktype") == "group":
            for inner in item.get("items", []):
                yield from symbols(inner, item.get("width"), item.get("height"))
        elif node.get("marktype") == "symbol":
            yield item, width, height


@pytest.mark.parametrize("study", ["smoke", "controls", pytest.param("deep", marks=pytest.mark.slow)])
def test_no_mark_lies_outside_its_view(nine_panels, study):
    """Offsets shared by views of different widths would push marks over the edge."""
    scene = vl_convert.vegalite_to_scenegraph(nine_panels(study))["scenegraph"]
    found = [entry for entry in symbols(scene) if entry[1] and entry[2]]
    assert len(found) > 30
    outside = [
        (item, w)
        for item, w, h in found
        if not (-1 <= item.get("x", 0) <= w + 1 and -1 <= item.get("y", 0) <= h + 1)
    ]
    assert not outside
