"""What is asked next: deterministic, resumable, without repetitions, never from a failed point, and good."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import differential_evolution

from reference import search as reference
from switchyard.errors import InputError
from switchyard.search import bayesian
from switchyard.search.comparison import best_by_seed
from switchyard.search.methods import INITIAL, Evaluated, ask, grid
from switchyard.search.objective import Objective, Outcome
from switchyard.search.points import Judged, evaluated, read_points, trajectory, write_points
from switchyard.search.space import Dimension, Space
from switchyard.search.spaces import make_space

STRUCTURE = {"num_experts": 8, "top_k": 2}
SPACE = make_space("roadmap", structure=STRUCTURE)
MIXED = make_space({"name": "roadmap", "add": ["route_weights", "fast_path_experts"]}, structure=STRUCTURE)
OBJECTIVE = Objective(reference.BASELINE, reference.LIMIT)


def search(folder, method, seed, batches, q=4, space=SPACE, fails=lambda point: False):
    """Evaluate batches that have no file yet, each asked from the files of those before."""
    paths = []
    for batch in range(batches):
        path = folder / method / f"seed{seed}" / "points" / f"{batch}.parquet"
        if not path.exists():
            earlier = evaluated(read_points(paths, [space]), space, reference.LIMIT)
            points = ask(method, space, seed, batch, q, earlier)
            outcomes = [
                Outcome(failed="it") if fails(point) else OBJECTIVE.outcome(*reference.var_like(point))
                for point in points
            ]
            judged = [Judged(space, point, "", one) for point, one in zip(points, outcomes)]
            write_points(path, [space], judged, batch=batch, seed=seed)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def feasible_range():
    """The least and most speed of a feasible point of `var_like`, by another optimiser than the one tested."""
    bounds = [(0.0, 1.0)] * len(SPACE.dimensions)

    def most(sign):
        def value(units):
            outcome = OBJECTIVE.outcome(*reference.var_like(SPACE.at(units)))
            return sign * outcome.speed if outcome.feasible else 10.0

        return sign * differential_evolution(value, bounds, seed=1, maxiter=150, tol=1e-8, polish=False).fun

    return most(1), most(-1)


def gap(paths, feasible_range):
    """How far the best feasible speed of one seed is below the optimum, as a share of the feasible range."""
    low, high = feasible_range
    (best,) = best_by_seed(read_points(paths, [SPACE]), 1000).values()
    return (high - best) / (high - low)


def test_the_optimum_is_found_quickly(tmp_path, feasible_range):
    paths = search(tmp_path, "bayesian", 0, batches=8)
    assert gap(paths, feasible_range) < 0.05 < gap(search(tmp_path, "random", 0, batches=8), feasible_range)


@pytest.mark.slow
def test_forty_points_come_within_5_percent_and_below_random(tmp_path, feasible_range):
    gaps = {
        method: np.median([gap(search(tmp_path, method, seed, 10), feasible_range) for seed in range(5)])
        for method in ("bayesian", "random")
    }
    assert gaps["bayesian"] < 0.05 and gaps["bayesian"] < gaps["random"] / 2


@pytest.mark.parametrize("method", ["grid", "random", "bayesian"])
def test_a_killed_search_goes_on_to_the_same_trajectory(tmp_path, method):
    paths = search(tmp_path, method, 3, batches=4, space=MIXED)
    whole = trajectory(read_points(paths, [MIXED]))
    for path in paths[1:]:
        path.unlink()
    again = trajectory(read_points(search(tmp_path, method, 3, batches=4, space=MIXED), [MIXED]))
    assert again.equals(whole) and len(again) == 16


def test_no_failed_point_reaches_a_process(tmp_path, monkeypatch):
    seen = []
    make = bayesian.Process.__init__

    def check(self, space, points, values, seed=0):
        seen.append(len(values))
        assert np.isfinite(values).all()
        make(self, space, points, values, seed)

    monkeypatch.setattr(bayesian.Process, "__init__", check)
    paths = search(tmp_path, "bayesian", 0, 4, fails=lambda point: point["context_window_size"] == 4)
    rows = read_points(paths, [SPACE])
    assert rows["failed"].notna().any()
    assert seen and max(seen) == rows[rows["batch"] < 3]["failed"].isna().sum()


def test_a_search_where_all_points_fail_stays_random(tmp_path):
    rows = read_points(search(tmp_path, "bayesian", 0, 4, fails=lambda point: True), [SPACE])
    expected = read_points(search(tmp_path, "random", 0, 4, fails=lambda point: True), [SPACE])
    assert rows.equals(expected)


def test_bayesian_begins_with_the_points_of_random(tmp_path):
    ours, random = (read_points(search(tmp_path, method, 5, 3), [SPACE]) for method in ("bayesian", "random"))
    assert ours[:INITIAL].equals(random[:INITIAL])
    assert not set(ours["entropy_threshold"][INITIAL:]) & set(random["entropy_threshold"][INITIAL:])


def test_without_a_feasible_point_the_most_probable_one_is_asked():
    points = grid(SPACE, 12)
    known = [Evaluated(0, point, 1.0, point["entropy_threshold"]) for point in points]
    found = ask("bayesian", SPACE, 0, 1, 2, known)
    assert max(point["entropy_threshold"] for point in found) < 0.25


@pytest.mark.parametrize("method", ["random", "bayesian"])
def test_seeds_differ_and_batches_do(method):
    batches = [tuple(ask(method, SPACE, seed, 0, 3)[0].values()) for seed in range(4)]
    later = ask("random", SPACE, 0, 1, 3, [Evaluated(0, point, 1.0, 0.0) for point in grid(SPACE, 3)])
    assert len({*batches, tuple(later[0].values())}) == 5


def test_a_grid_is_spread_over_every_dimension():
    points = grid(SPACE, 32)
    units = np.array([SPACE.units(point) for point in points])
    for place in (1, 2):  # real dimensions: one point in each of 32 steps
        assert sorted(np.floor(units[:, place] * 32 + 1e-9)) == list(range(32))
    halves = {tuple(row) for row in (units[:, :3] >= 0.5).astype(int)}
    assert len(halves) == 8
    assert units[0] == pytest.approx(0.5, abs=0.1)
    assert grid(SPACE, 40)[:32] == points
    assert [point for batch in range(8) for point in ask("grid", SPACE, 9, batch, 4)] == points


def test_no_point_is_asked_twice_while_there_are_others():
    small = Space(
        "small", (Dimension("a", "integer", 1, 3), Dimension("b", "categorical", choices=("x", "y")))
    )
    earlier = []
    for batch in range(3):
        points = ask("random", small, 0, batch, 2, earlier)
        earlier += [Evaluated(batch, point, 1.0, 0.0) for point in points]
    assert len({tuple(one.point.values()) for one in earlier}) == 6
    assert len(ask("random", small, 0, 3, 2, earlier)) == 2


def test_points_that_decide_alike_are_asked_once():
    points = ask("random", SPACE, 0, 0, 6, decisions=lambda point: point["context_window_size"])
    assert len({point["context_window_size"] for point in points}) == 6


def test_what_cannot_be_asked_is_refused():
    known = [Evaluated(0, point, 1.0, 0.0) for point in grid(SPACE, 2)]
    with pytest.raises(InputError, match="use grid, random, bayesian"):
        ask("gradient", SPACE, 0, 0, 4)
    with pytest.raises(InputError, match="batch 1 is missing"):
        ask("random", SPACE, 0, 2, 2, known)
    with pytest.raises(InputError, match="batch 0 is no earlier one"):
        ask("random", SPACE, 0, 0, 2, known)
    with pytest.raises(InputError, match="record it as failed"):
        ask("bayesian", SPACE, 0, 1, 2, [*known, Evaluated(0, known[0].point, float("nan"), 0.0)])
    with pytest.raises(InputError, match="ask for 1 point or more"):
        ask("random", SPACE, 0, 0, 0)
