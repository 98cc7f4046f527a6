"""Which dimension matters: partial dependence of a Gaussian process on the evaluated points, with its uncertainty."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from switchyard.errors import InputError
from switchyard.search.bayesian import Process
from switchyard.search.methods import random_points
from switchyard.search.points import point_of
from switchyard.search.space import Dimension, Point, Space

FEWEST = 5
"""Points below which no process is fitted."""

MODELLED = ("speed", "degradation")
"""Columns whose dependence is published: the objective jumps at the limit, and shows little but the jump."""

SCHEMA = {
    "space": "string",
    "column": "string",
    "dimension": "string",
    "value": "string",
    "mean": "float64",
    "std": "float64",
}


def sensitivities(rows: Iterable[pd.DataFrame], spaces: Sequence[Space]) -> pd.DataFrame:
    """`space, column, dimension, value, mean, std` of `partial_dependence`, of all methods' points together.

    A space with too few points has no row. A column that is the same at all points depends on nothing: it has one value
    and no uncertainty.
    """
    every = pd.concat(rows)
    found = [pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in SCHEMA.items()})]
    for space in spaces:
        own = every[every["objective"].notna() & every["space"].eq(space.name)]
        if len(own.drop_duplicates(space.names)) >= FEWEST:
            for column in MODELLED:
                table = partial_dependence(own, space, column=column)
                found.append(table.assign(space=space.name, column=column)[list(SCHEMA)])
    return pd.concat(found, ignore_index=True)


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
    which are the same for all values. A column without variation has its value everywhere and no uncertainty.

    Args:
        rows: of `read_points`; those of other spaces and failed points are left out.
        column: what the process models: `objective`, `speed` or `degradation`.
        places: values of a real or integer dimension at most; a categorical one has all its choices.
        seed: of the samples and of the fit.

    Raises:
        InputError: fewer than 5 points did not fail.
    """
    known = rows[rows["objective"].notna() & rows["space"].eq(space.name)].drop_duplicates(space.names)
    if len(known) < FEWEST:
        raise InputError(
            f"search: {len(known)} points have a value; sensitivity needs {FEWEST}, evaluate more"
        )
    if np.ptp(known[column]) == 0:
        flat = {"mean": float(known[column].iloc[0]), "std": 0.0}
        return pd.DataFrame(
            [
                {"dimension": one.name, "value": str(value), **flat}
                for one in space.dimensions
                for value in values(one, places)
            ]
        )
    points = [point_of(row, space) for row in known.to_dict("records")]
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
