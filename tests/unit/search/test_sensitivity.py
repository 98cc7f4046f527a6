"""Partial dependence: right on a sum, flat where nothing depends, and unsure where nothing is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from switchyard.errors import InputError
from switchyard.search.bayesian import Process
from switchyard.search.methods import random_points
from switchyard.search.sensitivity import partial_dependence, values
from switchyard.search.space import Dimension, Space

SPACE = Space(
    "sum",
    (
        Dimension("rising", "real", 0.0, 1.0),
        Dimension("idle", "integer", 1, 100, log=True),
        Dimension("weights", "categorical", choices=("live", "table")),
    ),
)


def known(points):
    rows = [
        {
            "batch": 0,
            "space": "sum",
            **point,
            "speed": 2 * point["rising"] + (point["weights"] == "live"),
            "objective": 0.0,
        }
        for point in points
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def found():
    points = [one for one in random_points(SPACE, 40, [3]) if one["rising"] < 0.7][:20]
    failed = {**points[0], "rising": 0.9, "batch": 0, "space": "sum", "speed": np.nan, "objective": np.nan}
    rows = pd.concat([known(points), pd.DataFrame([failed])])
    return rows, partial_dependence(rows, SPACE, column="speed", places=5, samples=16)


def test_the_slope_of_a_sum_is_found(found):
    table = found[1]
    rising = table[table["dimension"] == "rising"]["mean"].to_numpy()
    assert rising[2] - rising[0] == pytest.approx(1.0, abs=0.05)
    idle = table[table["dimension"] == "idle"]["mean"]
    assert np.ptp(idle) < 0.1
    live, looked_up = table[table["dimension"] == "weights"]["mean"]
    assert live - looked_up == pytest.approx(1.0, abs=0.1)


def test_it_is_less_sure_where_no_point_is(found):
    std = found[1][found[1]["dimension"] == "rising"]["std"].to_numpy()
    assert std[4] > 2 * std[1] and (std >= 0).all()


def test_mean_and_deviation_equal_loops_over_samples(found):
    rows, table = found
    rows = rows[rows["objective"].notna()]
    points = [
        {one.name: one.nearest(row[one.name]) for one in SPACE.dimensions} for row in rows.to_dict("records")
    ]
    process = Process(SPACE, points, rows["speed"].tolist())
    value = values(SPACE.dimensions[0], 5)[3]
    places = process.places([{**point, "rising": value} for point in random_points(SPACE, 16, [0])])
    mean, covariance = process.model.predict(places, return_cov=True)
    row = table[(table["dimension"] == "rising") & (table["value"] == str(value))].iloc[0]
    assert row["mean"] == pytest.approx(sum(mean) / 16)
    squares = sum(covariance[i, j] for i in range(16) for j in range(16))
    assert row["std"] == pytest.approx(np.sqrt(squares) / 16)


def test_too_few_points_are_refused():
    with pytest.raises(InputError, match="4 points have a value"):
        partial_dependence(known(random_points(SPACE, 4, [0])), SPACE)
