"""Spaces are data: what they hold, what they refuse, and what a point stands for."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from reference import search as reference
from switchyard.errors import InputError
from switchyard.search.methods import grid, random_points
from switchyard.search.space import Dimension, Space
from switchyard.search.spaces import make_space
from switchyard.var.config import VARConfig

STRUCTURE = {"num_experts": 8, "top_k": 2}
STATS = pa.table(
    {
        "frequency": [90, 5, 0, 30, 5],
        "mean_entropy": [0.5, 0.2, 0.0, 1.1, 0.9],
        "mean_confidence": [0.7, 0.9, 1.0, 0.4, 0.5],
    }
)
SPACES = ["roadmap", "quantiles", {"name": "roadmap", "add": ["fast_path_experts", "route_weights"]}, "bh"]


@pytest.fixture(params=SPACES, ids=str)
def space(request):
    return make_space(request.param, structure=STRUCTURE, stats=STATS)


def test_the_roadmap_has_six_parameters_with_its_ranges():
    space = make_space("roadmap", structure=STRUCTURE)
    assert {one.name: (one.low, one.high) for one in space.dimensions} == {
        "frequency_threshold": (10, 200),
        "entropy_threshold": (0.1, 1.5),
        "confidence_threshold": (0.5, 0.95),
        "cache_size": (100, 10_000),
        "cache_ttl_seconds": (10, 300),
        "context_window_size": (2, 8),
    }
    assert set(space.names) <= set(VARConfig.__dataclass_fields__)
    assert [one.name for one in space.dimensions if one.log] == [
        "frequency_threshold",
        "cache_size",
        "cache_ttl_seconds",
    ]


def test_every_point_lies_in_its_space_and_is_plain(space):
    points = [*grid(space, 40), *random_points(space, 200, [0])]
    for one in space.dimensions:
        values = [point[one.name] for point in points]
        kind = {"integer": int, "real": float, "categorical": str}[one.kind]
        assert all(type(value) is kind for value in values)
        if one.kind == "categorical":
            assert set(values) == set(one.choices)
        else:
            assert all(one.low <= value <= one.high for value in values)
    assert all(list(point) == space.names for point in points)


def test_every_point_has_a_place_in_the_unit_cube(space):
    for point in random_points(space, 50, [1]):
        again = space.at(space.units(point))
        for name, value in point.items():
            assert again[name] == (pytest.approx(value) if type(value) is float else value)


@pytest.mark.parametrize("entry", SPACES[:3], ids=str)
def test_var_points_load_as_var_config(entry):
    space = make_space(entry, structure=STRUCTURE, stats=STATS)
    for point in grid(space, 8):
        VARConfig(**space.settings(point))


def test_bh_has_levels_in_hundredths_and_nulls_that_exist():
    space = make_space("bh", structure={"num_experts": 4, "top_k": 1})
    levels = [point["alpha"] for point in random_points(space, 300, [0])]
    assert all(level == round(level, 2) for level in levels) and len(set(levels)) > 60
    assert space.dimensions[1].high == 4
    assert not {"trimmed_4", "trimmed_8"} & set(space.dimensions[2].choices)


def test_quantiles_are_those_of_tokens():
    space = make_space("quantiles", structure=STRUCTURE, stats=STATS)
    for column, name in (("mean_entropy", "entropy"), ("mean_confidence", "confidence")):
        seen = [row for row in STATS.to_pylist() if row["frequency"]]
        values, weights = [row[column] for row in seen], [row["frequency"] for row in seen]
        for share in (0.0, 0.01, 0.04, 0.3, 0.73, 1.0):
            point = {**grid(space, 1)[0], f"{name}_quantile": share}
            found = space.settings(point)[f"{name}_threshold"]
            assert found == reference.quantile(values, weights, share)


def test_integers_have_equal_shares_and_logs_equal_ratios():
    whole = Dimension("whole", "integer", 2, 8)
    counts = np.bincount([whole.at(unit) for unit in (np.arange(7000) + 0.5) / 7000])
    assert set(counts[2:]) == {1000}
    log = Dimension("log", "real", 1.0, 10_000.0, log=True)
    assert [log.at(unit) for unit in (0, 0.25, 0.5, 1)] == pytest.approx([1, 10, 100, 10_000])


def test_an_entry_changes_adds_and_drops_dimensions():
    entry = {
        "name": "roadmap",
        "add": ["fast_path_experts"],
        "dimensions": {
            "entropy_threshold": {"high": 2.0},
            "cache_size": None,
            "extra": {"kind": "integer", "low": 0, "high": 3},
        },
    }
    space = make_space(entry, structure=STRUCTURE)
    assert space.dimensions[1] == Dimension("entropy_threshold", "real", 0.1, 2.0)
    assert "cache_size" not in space.names
    assert space.names[-2:] == ["fast_path_experts", "extra"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "whole"}, "use integer, real, categorical"),
        ({"kind": "real", "low": 1, "high": 1}, "give a range"),
        ({"kind": "real", "low": 0, "high": float("nan")}, "give numbers"),
        ({"kind": "integer", "low": 0.5, "high": 3}, "whole ones"),
        ({"kind": "integer", "low": 0, "high": 9, "log": True}, "start above 0"),
        ({"kind": "integer", "low": 0, "high": 9, "step": 2}, "a real dimension"),
        ({"kind": "categorical", "choices": ["a", "a"]}, "two or more different"),
        ({"kind": "categorical", "choices": ["a", None]}, "two or more different"),
        ({"kind": "real", "low": 0, "high": 1, "choices": ["a"]}, "give it low and high"),
    ],
)
def test_a_range_that_is_none_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Dimension("it", **fields)


def test_what_a_space_needs_is_said():
    with pytest.raises(InputError, match="use roadmap, quantiles, bh"):
        make_space("road", structure=STRUCTURE)
    with pytest.raises(InputError, match=r"give routing_stats\.parquet"):
        make_space("quantiles", structure=STRUCTURE)
    with pytest.raises(InputError, match="mean_confidence is missing"):
        make_space("quantiles", structure=STRUCTURE, stats=STATS.drop_columns(["mean_confidence"]))
    with pytest.raises(InputError, match="leave the dimension out"):
        make_space({"name": "roadmap", "add": ["fast_path_experts"]}, structure={**STRUCTURE, "top_k": 1})
    with pytest.raises(InputError, match="cannot be added"):
        make_space({"name": "roadmap", "add": ["weights"]}, structure=STRUCTURE)
    with pytest.raises(InputError, match="twice"):
        Space("it", (Dimension("a", "real", 0, 1), Dimension("a", "real", 0, 1)))
