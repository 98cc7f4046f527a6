"""A batch of a search: asked from the batches before it, evaluated, written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from switchyard.search.methods import ask
from switchyard.search.points import Judged, evaluated, known_outcomes, read_points, write_points
from switchyard.search.setup import Ready
from switchyard.search.space import Point, Space


class Batch(NamedTuple):
    """Which batch of a search."""

    method: str
    seed: int
    number: int
    """Counted from 0."""
    q: int
    """Points of each space."""


def run_batch(
    ready: Ready,
    spaces: Sequence[Space],
    batch: Batch,
    earlier: Iterable[str | Path],
    output: str | Path,
    *,
    others: Iterable[str | Path] = (),
    stamp: Mapping[str, Any] | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> None:
    """Write the points of a batch with what each is worth.

    Args:
        earlier: files of the same method and seed that the batch is asked from; a grid needs none.
        others: files of other searches on the same text, whose outcomes need not be computed again.
        progress: called with 1 after each point.
    """
    rows = read_points(earlier, spaces)
    ready.evaluator.known |= known_outcomes(rows) | known_outcomes(read_points(others, spaces))
    limit, judged = ready.evaluator.max_quality_degradation, []
    for space in spaces:
        candidates = ready.candidates(space.name)
        asked = ask(
            batch.method,
            space,
            batch.seed,
            batch.number,
            batch.q,
            evaluated(rows, space, limit),
            decisions=partial(_decisions, space, candidates),
        )
        for point in asked:
            decisions, outcome = ready.evaluator.outcome(candidates, space.settings(point))
            judged.append(Judged(space, point, decisions, outcome))
            progress(1)
    write_points(output, spaces, judged, batch=batch.number, seed=batch.seed, stamp=stamp)


def _decisions(space: Space, candidates: Any, point: Point) -> str:
    return candidates.decisions(space.settings(point))
