"""Bayesian search under a limit: two Gaussian processes, of the speed and of the loss above the limit.

The objective (`switchyard.search.objective`) jumps where the limit is passed, by ten times the range of the speeds and
more. A process of it sees little but the jump, which is why its two parts are modelled, each smooth (Gardner et al.,
2014, Bayesian optimization with inequality constraints). Nothing of the objective is given up: an infeasible point
never improves on a feasible one, so the objective's expected improvement is P(feasible) E[improvement of the speed].

On `var_like` of tests/reference/search.py, after 40 points four at a time, the best feasible speed was below the
optimum by this share of the feasible range, in the median of 5 seeds: random 18 %, one process of the objective by
`skopt.Optimizer` (expected improvement, constant liar) 15 %, the two processes 0.5 %.

Processes, transforms and the improvement are scikit-optimize's; it is imported when points are asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from switchyard.search.methods import Evaluated, random_points
from switchyard.search.space import Dimension, Point, Space

CANDIDATES = 1500
"""Points of the whole space of which the best is taken."""

NEIGHBOURS = 1500
"""Candidates around the fastest feasible point: half their coordinates are moved, all by steps of one size."""

STEPS = (0.02, 0.1, 0.3)
"""Standard deviations of the steps, as shares of a dimension; each candidate draws one."""

RESTARTS = 1
"""Starts of a process's likelihood maximisation, beside the one from the default."""

_JITTER = 1e-8


class Process:
    """A Gaussian process of one number over a space: Matern 5/2 with a length for each dimension, and noise.

    What it is given must be finite: scikit-optimize cannot fit anything else.
    """

    def __init__(self, space: Space, points: Sequence[Point], values: Sequence[float], seed: int = 0) -> None:
        from skopt.space import Space as Transforms
        from skopt.utils import cook_estimator, normalize_dimensions

        self._space = space
        self._transforms = Transforms(normalize_dimensions([_dimension(one) for one in space.dimensions]))
        estimator = cook_estimator("GP", space=self._transforms, random_state=seed)
        self._x, self._y = self.places(points), [float(value) for value in values]
        with _quiet():
            self.model = estimator.set_params(n_restarts_optimizer=RESTARTS).fit(self._x, self._y)
        self._kernel, self._noise = self.model.kernel_, self.model.noise_ + _JITTER

    def places(self, points: Sequence[Point]) -> np.ndarray:
        """Points as the process has them, [points, numbers]: each dimension in 0..1, choices one-hot."""
        return np.asarray(self._transforms.transform([_encoded(self._space, point) for point in points]))

    def predict(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation [points]."""
        with _quiet():
            return self.model.predict(places, return_std=True)

    def believe(self, place: np.ndarray) -> None:
        """Take the mean at a place [numbers] for a value, with the kernel as it is."""
        from skopt.learning import GaussianProcessRegressor

        self._y.append(float(self.predict(place[None])[0][0]))
        self._x = np.vstack([self._x, place])
        with _quiet():
            self.model = GaussianProcessRegressor(
                self._kernel, alpha=self._noise, optimizer=None, normalize_y=True
            ).fit(self._x, self._y)


def propose(space: Space, known: Sequence[Evaluated], q: int, *, seed: Sequence[int]) -> list[Point]:
    """The q points with the largest expected improvement, one after the other.

    After each, the processes believe their own mean there (the Kriging believer of Ginsbourger et al., 2010), so that
    the next one lies elsewhere. As long as nothing is feasible, the most probably feasible point is taken.

    Args:
        known: points with a value; what is not finite must not be among them.
        seed: of the candidates.
    """
    points = [one.point for one in known]
    feasible = [one for one in known if one.excess <= 0]
    incumbent = max(feasible, key=lambda one: one.speed, default=None)
    candidates = _candidates(space, incumbent, seed)
    with threadpool_limits(1):  # sums in one order, whatever the machine has
        slowness = Process(space, points, [-one.speed for one in known])
        excess = Process(space, points, [one.excess for one in known])
        places = slowness.places(candidates)
        found = []
        for _ in range(q):
            chosen = int(np.argmax(_improvement(slowness, excess, places, incumbent)))
            found.append(candidates[chosen])
            slowness.believe(places[chosen])
            excess.believe(places[chosen])
            places, candidates = (
                np.delete(places, chosen, axis=0),
                candidates[:chosen] + candidates[chosen + 1 :],
            )
    return found


def _improvement(
    slowness: Process, excess: Process, places: np.ndarray, incumbent: Evaluated | None
) -> np.ndarray:
    """Expected improvement of the objective [places]; P(feasible) alone without a feasible point."""
    from skopt.acquisition import gaussian_ei

    mean, deviation = excess.predict(places)
    feasible = norm.cdf(-mean / np.maximum(deviation, np.finfo(float).tiny))
    if incumbent is None:
        return feasible
    with _quiet():
        return feasible * gaussian_ei(places, slowness.model, y_opt=-incumbent.speed, xi=0.0)


def _candidates(space: Space, incumbent: Evaluated | None, seed: Sequence[int]) -> list[Point]:
    found = list(random_points(space, CANDIDATES, seed))
    if incumbent is None:
        return found
    random = np.random.default_rng([*seed, 1])
    shape = (NEIGHBOURS, len(space.dimensions))
    steps = random.normal(size=shape) * random.choice(STEPS, (NEIGHBOURS, 1)) * (random.random(shape) < 0.5)
    around = np.clip(space.units(incumbent.point) + steps, 0.0, 1.0)
    return found + [space.at(units) for units in around]


def _encoded(space: Space, point: Mapping[str, Any]) -> list[Any]:
    """A point as skopt has it: real values with a step as whole numbers of steps."""
    return [round(point[one.name] / one.step) if one.step else point[one.name] for one in space.dimensions]


def _dimension(one: Dimension) -> Any:
    from skopt.space import Categorical, Integer, Real

    if one.kind == "categorical":
        return Categorical(list(one.choices), name=one.name)
    kind = Real if one.kind == "real" and not one.step else Integer
    return kind(*one.ends, prior="log-uniform" if one.log else "uniform", name=one.name)


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of a likelihood without a clear maximum, and of variances that are 0 but for rounding."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
