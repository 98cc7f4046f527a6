"""Which dimension matters: partial dependence of a Gaussian process on the evaluated points, with its uncertainty."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from switchyard.errors import InputError
from switchyard.search.bayesian import Process
from switchyard.search.methods import random_points
from switchyard.search.space import Dimension, Point, Space

FEWEST = 5
"""Points below which no process is fitted."""


def partial_dependence(
    rows: pd.DataFrame,
    space: Space,
    *,
    column: str = "objective",
    places: int = 20,
    samples: int = 128,
    seed: int = 0,
) -> pd.DataFrame:
    """`dimension, value, mean, std`: the process's mean over the other dimensions, at some values of each dimension.

    The mean is over `samples` random points of the space with one dimension set to the value (Friedman, 2001, equation
    53). It is a linear function of the process, so its standard deviation is exact: the square root of the mean of the
    posterior covariance over all pairs of samples. It is the process's own and knows nothing of the choice of samples,
    which are the same for all values.

    Args:
        rows: of `read_points`; failed points are left out.
        column: what the process models: `objective`, `speed` or `degradation`.
        places: values of a real or integer dimension at most; a categorical one has all its choices.
        seed: of the samples and of the fit.

    Raises:
        InputError: fewer than 5 points did not fail.
    """
    known = rows[rows["objective"].notna()].drop_duplicates(space.names)
    if len(known) < FEWEST:
        raise InputError(
            f"search: {len(known)} points have a value; sensitivity needs {FEWEST}, evaluate more"
        )
    points = [
        {one.name: one.nearest(row[one.name]) for one in space.dimensions} for row in known.to_dict("records")
    ]
    others = list(random_points(space, samples, [seed]))
    with threadpool_limits(1):  # sums in one order, whatever the machine has
        process = Process(space, points, known[column].tolist(), seed)
        found = [
            {"dimension": one.name, "value": str(value), **_at(process, others, one.name, value)}
            for one in space.dimensions
            for value in values(one, places)
        ]
    return pd.DataFrame(found)


def values(dimension: Dimension, places: int) -> list[Any]:
    """At most `places` different values of a dimension, evenly spread on its scale, in order."""
    if dimension.kind == "categorical":
        return list(dimension.choices)
    return list(dict.fromkeys(dimension.at(unit) for unit in np.linspace(0, 1, places)))


def _at(process: Process, others: list[Point], name: str, value: Any) -> dict[str, float]:
    places = process.places([{**point, name: value} for point in others])
    mean, covariance = process.model.predict(places, return_cov=True)
    return {"mean": float(mean.mean()), "std": float(np.sqrt(max(covariance.mean(), 0.0)))}
