"""Which points come next: grid, random, Bayesian. Batch n is a function of the batches before it, and of nothing else.

So a search that was killed goes on where it stood, and every batch can be a job of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from switchyard.errors import InputError
from switchyard.search.space import Point, Space

METHODS = ("grid", "random", "bayesian")

INITIAL = 8
"""Points with a value that the processes need before they are asked; they are those of `random` with the same seed, so
that the two methods differ in the rest alone and their common points are evaluated once."""

_TRIES = 100
"""Random points drawn in the place of repeated ones, before a repetition is accepted: a small space runs out."""

_RANDOM, _REPLACED, _CANDIDATES = range(3)
"""Streams of random numbers of a seed and batch."""


class Evaluated(NamedTuple):
    """A point of an earlier batch and what it was worth; the numbers are None where it failed."""

    batch: int
    point: Point
    speed: float | None
    excess: float | None
    """ln((1 + degradation) / (1 + limit)): nats of loss above the limit; at most 0 where the point is feasible."""


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
    - `bayesian`: those of `random` until INITIAL points have a value, then `switchyard.search.bayesian.propose`.
      Failed points are kept from its processes.

    A random or Bayesian point that decides as an earlier one of the search or of its batch is replaced by a random one,
    as long as the space has others.

    Args:
        earlier: all points of the batches before, in the order in which they were asked.
        decisions: equal for points that are known to decide alike; None: equal for equal points.

    Raises:
        InputError: an unknown method, a batch whose earlier ones are not all there, or a value that is no number.
    """
    _check(method, batch, q, earlier)
    if method == "grid":
        return grid(space, (batch + 1) * q)[batch * q :]
    known = [one for one in earlier if one.speed is not None]
    if method == "random" or len(known) < INITIAL:
        wanted = list(random_points(space, q, [seed, batch, _RANDOM]))
    else:
        from switchyard.search.bayesian import propose

        wanted = propose(space, known, q, seed=[seed, batch, _CANDIDATES])
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
    for one in earlier:
        values = [value for value in (one.speed, one.excess) if value is not None]
        if len(values) == 1 or not np.isfinite(values).all():
            raise InputError(
                f"search: a point of batch {one.batch} has speed {one.speed} and excess {one.excess}; "
                "record it as failed"
            )


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
