"""Files of points, trajectory, best configuration, frontier, shares."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from reference import search as reference
from switchyard.artifacts.files import write_json
from switchyard.errors import InputError
from switchyard.search.findings import best, best_config, pareto, shares
from switchyard.search.methods import ask
from switchyard.search.objective import Objective, Outcome
from switchyard.search.points import (
    Judged,
    evaluated,
    known_outcomes,
    read_points,
    trajectory,
    write_points,
)
from switchyard.search.spaces import make_space
from switchyard.var.config import VARConfig

STRUCTURE = {"num_experts": 8, "top_k": 2}
SPACE = make_space({"name": "roadmap", "add": ["route_weights"]}, structure=STRUCTURE)
OBJECTIVE = Objective(reference.BASELINE, reference.LIMIT)
FAILED = Outcome(failed="quality is nan")
OTHER = make_space(
    "quantiles",
    structure=STRUCTURE,
    stats=pa.table({"frequency": [3, 1], "mean_entropy": [0.5, 1.5], "mean_confidence": [0.9, 0.4]}),
)


def write(path, points, outcomes, *, batch=0, seed=0, space=SPACE, spaces=(SPACE,)):
    judged = [Judged(space, point, str(point), outcome) for point, outcome in zip(points, outcomes)]
    write_points(path, spaces, judged, batch=batch, seed=seed)


def files(folder, seeds=(0, 1), batches=3, q=4, fail=()):
    """Random points of some seeds, evaluated; places of `fail` in each batch have failed."""
    paths = []
    for seed in seeds:
        earlier = []
        for batch in range(batches):
            points = ask("random", SPACE, seed, batch, q, earlier)
            outcomes = [
                FAILED if place in fail else OBJECTIVE.outcome(*reference.var_like(point), 0.5)
                for place, point in enumerate(points)
            ]
            paths.append(folder / f"seed{seed}" / "points" / f"{batch}.parquet")
            write(paths[-1], points, outcomes, batch=batch, seed=seed)
            earlier = evaluated(read_points(paths[-batch - 1 :], [SPACE]), SPACE, reference.LIMIT)
    return paths


def test_points_are_read_as_they_were_asked(tmp_path):
    paths = files(tmp_path, fail=(1,))
    rows = read_points(reversed(paths), [SPACE])
    assert rows["seed"].tolist() == [0] * 12 + [1] * 12
    assert rows["batch"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2] * 2
    own = evaluated(rows[rows["seed"] == 1], SPACE, reference.LIMIT)
    assert [one.point for one in own[:4]] == ask("random", SPACE, 1, 0, 4)
    assert [one.speed is None and one.excess is None for one in own] == [False, True, False, False] * 3
    judged = [(one.excess <= 0) == feasible for one, feasible in zip(own, rows["feasible"][12:]) if one.speed]
    assert all(judged) and len(judged) == 9
    assert {type(value) for one in own for value in one.point.values()} == {int, float, str}


def test_a_batch_is_asked_from_one_seed(tmp_path):
    with pytest.raises(InputError, match="of one seed"):
        evaluated(read_points(files(tmp_path, batches=1), [SPACE]), SPACE, reference.LIMIT)


def test_a_file_of_another_space_is_refused(tmp_path):
    paths = files(tmp_path, seeds=(0,), batches=1)
    with pytest.raises(InputError, match="not those of the search space roadmap"):
        read_points(paths, [make_space("roadmap", structure=STRUCTURE)])


def test_the_trajectory_has_the_best_so_far_of_each_seed(tmp_path):
    rows = trajectory(read_points(files(tmp_path, fail=(0, 2)), [SPACE]))
    for _, own in rows.groupby("seed"):
        assert own["number"].tolist() == list(range(1, 13))
        expected = reference.best_so_far(own.to_dict("records"))
        np.testing.assert_array_equal(own["best_speed"], np.array(expected, float))
        least = [own["objective"][: number + 1].min() for number in range(12)]
        np.testing.assert_array_equal(own["best_objective"], least)
        assert math.isnan(own["best_objective"].iloc[0])


def test_the_best_configuration_is_feasible_and_loads(tmp_path):
    rows = read_points(files(tmp_path / "points", batches=4), [SPACE])
    found = best(rows)
    feasible = rows[rows["degradation"] <= reference.LIMIT]
    assert found["speed"] == feasible["speed"].max() and len(feasible) < len(rows)
    write_json(
        tmp_path / "best_config.json", best_config(rows, [SPACE], max_quality_degradation=reference.LIMIT)
    )
    config = VARConfig.from_json(tmp_path / "best_config.json")
    assert config.max_quality_degradation == reference.LIMIT
    assert all(getattr(config, name) == found[name] for name in SPACE.names)


def test_of_equal_speeds_the_least_degradation_then_the_first():
    same = {"feasible": True, "speed": 1.2}
    rows = pd.DataFrame([{**same, "degradation": d, "n": n} for n, d in enumerate([0.003, 0.001, 0.001])])
    assert best(rows)["n"] == 1


def test_without_a_feasible_point_var_is_off(tmp_path):
    path = tmp_path / "0.parquet"
    points = ask("random", SPACE, 0, 0, 2)
    write(path, points, [FAILED, OBJECTIVE.outcome(30.0, 2.0)])
    rows = read_points([path], [SPACE])
    assert best(rows) is None
    config = VARConfig(**best_config(rows, [SPACE], max_quality_degradation=0.005))
    assert not config.enable_var
    assert shares(rows) == {"points": 2, "infeasible": 0.5, "failed": 0.5, "flat": None}
    assert trajectory(rows)["best_speed"].isna().all()


@pytest.mark.parametrize("seed", range(5))
def test_the_frontier_equals_the_reference(seed):
    random = np.random.default_rng(seed)
    places = [tuple(one) for one in random.integers(0, 6, (30, 2)).astype(float)]
    rows = pd.DataFrame(places, columns=["degradation", "speed"]).assign(objective=1.0)
    failed = pd.DataFrame([{"degradation": np.nan, "speed": np.nan, "objective": np.nan}])
    found = pareto(pd.concat([rows, failed]))
    pairs = list(zip(found["degradation"], found["speed"]))
    assert len(pairs) == len(set(pairs)) and set(pairs) == reference.frontier(places)
    assert pairs == sorted(pairs)


def test_flat_is_where_var_never_acts():
    rows = pd.DataFrame(
        {
            "feasible": [True, True, False, None],
            "failed": [None, None, None, "it"],
            "acting_share": [0, 0.1, 0.9, None],
        }
    )
    assert shares(rows) == {"points": 4, "infeasible": 0.25, "failed": 0.25, "flat": pytest.approx(1 / 3)}


def test_a_dimension_named_as_a_column_is_refused(tmp_path):
    entry = {"name": "roadmap", "dimensions": {"speed": {"kind": "real", "low": 0, "high": 1}}}
    with pytest.raises(InputError, match="named speed"):
        read_points([], [make_space(entry, structure=STRUCTURE)])


def test_two_spaces_share_a_file(tmp_path):
    """Each has its own places and its own trajectory; the other's columns are empty but for settings."""
    spaces, path = [OTHER, SPACE], tmp_path / "0.parquet"
    judged = [
        Judged(space, point, f"{space.name} {number}", OBJECTIVE.outcome(20.0, 1.0 + number))
        for space in spaces
        for number, point in enumerate(ask("random", space, 0, 0, 3))
    ]
    write_points(path, spaces, judged, batch=0, seed=0)
    rows = read_points([path], spaces)
    assert rows["space"].tolist() == ["quantiles"] * 3 + ["roadmap"] * 3
    assert rows["place"].tolist() == [0, 1, 2] * 2
    assert rows["entropy_quantile"].notna().tolist() == [True] * 3 + [False] * 3
    assert set(rows["entropy_threshold"][:3]) <= {0.5, 1.5}
    for space in spaces:
        assert [one.point for one in evaluated(rows, space, 0.005)] == ask("random", space, 0, 0, 3)
    assert trajectory(rows)["number"].tolist() == [1, 2, 3] * 2
    assert best_config(rows, spaces, max_quality_degradation=0.005)["entropy_threshold"] in (0.5, 1.5)
    known = known_outcomes(rows)
    assert known["roadmap 2"] == judged[-1].outcome and len(known) == 6


def test_a_name_of_two_kinds_is_refused():
    entry = {"name": "roadmap", "dimensions": {"cache_size": {"kind": "real", "log": False}}}
    with pytest.raises(InputError, match="cache_size has another kind"):
        read_points([], [OTHER, make_space(entry, structure=STRUCTURE)])
