"""Which points come next: grid, random, Bayesian. Batch n is a function of the batches before it, and of nothing else.

So a search that was killed goes on where it stood, and every batch can be a job of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from switchyard.errors import InputError
from switchyard.search.space import Dimension, Point, Space

if TYPE_CHECKING:
    from skopt import Optimizer

METHODS = ("grid", "random", "bayesian")

INITIAL = 8
"""Points with a value that the process needs before it is asked; they are those of `random` with the same seed, so that
the two methods differ in the rest alone and their common points are evaluated once."""

CANDIDATES = 2000
"""Random points at which the acquisition is tried before the best are refined."""

_TRIES = 100
"""Random points drawn in the place of a repeated one, before the repetition is accepted: a small space runs out."""

_RANDOM, _PROCESS, _REPLACED = range(3)
"""Streams of random numbers of a seed."""


class Evaluated(NamedTuple):
    """A point of an earlier batch and its objective, None where it failed."""

    batch: int
    point: Point
    objective: float | None


def ask(
    method: str,
    space: Space,
    seed: int,
    batch: int,
    q: int,
    earlier: Sequence[Evaluated] = (),
    *,
    decisions: Callable[[Point], Hashable] | None = None,
) -> list[Point]:
    """The q points of a batch, counted from 0.

    - `grid`: the points `batch * q` to `batch * q + q` of `grid`; the seed changes nothing.
    - `random`: q points of the seed's own, uniform over the space.
    - `bayesian`: those of `random` until INITIAL points have a value. Then the expected improvement of a Gaussian
      process (`skopt.Optimizer`) that knows all earlier values; q at once with the constant liar, which pretends that a
      point asked has the least value so far. Failed points are not told to it.

    A random or Bayesian point that decides as an earlier one of the search or of its batch is replaced by a random one,
    as long as the space has others.

    Args:
        earlier: all points of the batches before, in the order in which they were asked.
        decisions: equal for points that are known to decide alike; None: equal for equal points.

    Raises:
        InputError: an unknown method, a batch whose earlier ones are not all there, or an objective that is no number.
    """
    _check(method, batch, q, earlier)
    if method == "grid":
        return grid(space, (batch + 1) * q)[batch * q :]
    known = [one for one in earlier if one.objective is not None]
    if method == "random" or len(known) < INITIAL:
        wanted = list(random_points(space, q, [seed, batch, _RANDOM]))
    else:
        wanted = _proposed(space, seed, batch, q, known)
    return _without_repetitions(space, [seed, batch, _REPLACED], wanted, earlier, decisions)


def grid(space: Space, n: int) -> list[Point]:
    """n points spread evenly over all dimensions: the Sobol' sequence, shifted so that it begins at the centre.

    A product of values has 64 points in six dimensions and shows two values of each. The first 32 points here show 32
    places of each dimension, at even steps. A longer grid begins with the points of a shorter one.
    """
    from scipy.stats import qmc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # n need not be a power of 2
        units = qmc.Sobol(len(space.dimensions), scramble=False).random(n)
    return [space.at(place) for place in (units + 0.5) % 1.0]


def random_points(space: Space, n: int, seed: Sequence[int]) -> Iterator[Point]:
    """n points, uniform over the space, the same for the same seed."""
    for units in np.random.default_rng(seed).random((n, len(space.dimensions))):
        yield space.at(units)


def fitted(space: Space, points: Sequence[Point], values: Sequence[float], seed: int) -> Optimizer:
    """An optimiser whose Gaussian process knows the values of some points; all finite."""
    from skopt import Optimizer

    optimizer = Optimizer(
        [_skopt_dimension(one) for one in space.dimensions],
        "GP",
        n_initial_points=0,
        acq_func="EI",
        acq_optimizer_kwargs={"n_points": CANDIDATES},
        random_state=seed,
    )
    optimizer.tell([encoded(space, point) for point in points], [float(value) for value in values])
    return optimizer


def encoded(space: Space, point: Mapping[str, Any]) -> list[Any]:
    """A point as skopt has it: real values with a step as whole numbers of steps."""
    return [round(point[one.name] / one.step) if one.step else point[one.name] for one in space.dimensions]


def decoded(space: Space, values: Sequence[Any]) -> Point:
    """The inverse of `encoded`, with plain Python values."""
    return {
        one.name: one.nearest(value * one.step if one.step else value)
        for one, value in zip(space.dimensions, values, strict=True)
    }


def _check(method: str, batch: int, q: int, earlier: Sequence[Evaluated]) -> None:
    if method not in METHODS:
        raise InputError(f"search: method {method!r} is unknown; use {', '.join(METHODS)}")
    if batch < 0 or q < 1:
        raise InputError(
            f"search: batch {batch} of {q} points; count batches from 0 and ask for 1 point or more"
        )
    if method == "grid":
        return
    found = {one.batch for one in earlier}
    if wrong := sorted(found ^ set(range(batch))):
        said = "is missing" if wrong[0] < batch else "is no earlier one"
        raise InputError(
            f"search: batch {wrong[0]} {said}; batch {batch} is asked from batches 0 to {batch - 1}"
        )
    bad = [one for one in earlier if one.objective is not None and not np.isfinite(one.objective)]
    if bad:
        raise InputError(
            f"search: a point has objective {bad[0].objective}; record it as failed, without an objective"
        )


def _proposed(space: Space, seed: int, batch: int, q: int, known: Sequence[Evaluated]) -> list[Point]:
    from threadpoolctl import threadpool_limits

    state = int(np.random.SeedSequence([seed, batch, _PROCESS]).generate_state(1)[0])
    with threadpool_limits(1), warnings.catch_warnings():  # sums in one order, whatever the machine has
        warnings.simplefilter("ignore", UserWarning)  # a repeated point is replaced below
        optimizer = fitted(space, [one.point for one in known], [one.objective for one in known], state)
        return [decoded(space, values) for values in optimizer.ask(q, strategy="cl_min")]


def _without_repetitions(
    space: Space,
    seed: Sequence[int],
    wanted: Sequence[Point],
    earlier: Sequence[Evaluated],
    decisions: Callable[[Point], Hashable] | None,
) -> list[Point]:
    decide = decisions or (lambda point: tuple(point.values()))
    seen = {decide(one.point) for one in earlier}
    others = random_points(space, _TRIES, seed)
    found = []
    for point in wanted:
        if decide(point) in seen:
            point = next((one for one in others if decide(one) not in seen), point)
        seen.add(decide(point))
        found.append(point)
    return found


def _skopt_dimension(one: Dimension) -> Any:
    from skopt.space import Categorical, Integer, Real

    if one.kind == "categorical":
        return Categorical(list(one.choices), name=one.name)
    kind = Real if one.kind == "real" and not one.step else Integer
    return kind(*one.ends, prior="log-uniform" if one.log else "uniform", name=one.name)
