"""What a search of a model comes to: the best of each method and space, methods compared, manual configurations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from switchyard.search.comparison import compare
from switchyard.search.findings import best, shares
from switchyard.search.objective import NO_SPEED_UP
from switchyard.search.points import point_of
from switchyard.search.space import Space
from switchyard.search.spaces import BH
from switchyard.var.comparison import FAIL, PASS

BAYESIAN, RANDOM = "bayesian", "random"


def summary(
    rows: Mapping[str, pd.DataFrame],
    spaces: Sequence[Space],
    manual: Mapping[str, Mapping[str, Any]],
    validations: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The content of `summary.json` but for its settings and its stamp.

    - `spaces`: of each space all points of all methods together (`points, infeasible, failed, flat`), `computed`, how
      many different decisions they were, and by method the same shares and the best feasible row.
    - `methods`: by space Bayesian against random at equal budget; empty where one of them did not run.
    - `manual`: the fastest feasible of the study's own configurations on the tuning text, and whether the best point of
      VAR's spaces is faster: PASS or FAIL.
    - `final`: by method what was validated.

    Args:
        rows: by method, of `switchyard.search.points.trajectory`.
        manual: by name `tuning` and `final` (`switchyard.search.validation.Validated`).
        validations: by method the content of `validation.json`.
    """
    return {
        "spaces": {space.name: _space(rows, space) for space in spaces},
        "methods": {space.name: _methods(rows, space) for space in spaces},
        "manual": _against_manual(rows, manual),
        "final": {
            method: {name: value for name, value in one.items() if name not in ("provenance", "method")}
            for method, one in validations.items()
        },
    }


def _space(rows: Mapping[str, pd.DataFrame], space: Space) -> dict[str, Any]:
    own = {method: one[one["space"] == space.name] for method, one in rows.items()}
    every = pd.concat(own.values())
    return {
        **shares(every),
        "computed": int(every["decisions"].nunique()),
        "by_method": {
            method: {**shares(one), "best": _described(best(one), space)} for method, one in own.items()
        },
    }


def _described(row: Mapping[str, Any] | None, space: Space) -> dict[str, Any] | None:
    """A row as JSON holds it: its place, its point, its settings and its outcome."""
    if row is None:
        return None
    point = point_of(row, space)
    kept = ("seed", "number", "quality", "speed", "degradation", "acting_share")
    return {
        "point": point,
        "settings": space.settings(point),
        **{name: row[name].item() if hasattr(row[name], "item") else row[name] for name in kept},
    }


def _methods(rows: Mapping[str, pd.DataFrame], space: Space) -> dict[str, Any] | None:
    if not {BAYESIAN, RANDOM} <= rows.keys():
        return None
    own = {method: rows[method][rows[method]["space"] == space.name] for method in (BAYESIAN, RANDOM)}
    return asdict(compare(own, BAYESIAN, RANDOM))


def _against_manual(
    rows: Mapping[str, pd.DataFrame], manual: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    of_var = pd.concat([one[one["space"] != BH] for one in rows.values()])
    found = best(of_var)
    speed = NO_SPEED_UP if found is None else float(found["speed"])
    able = {name: one["tuning"] for name, one in manual.items() if one["tuning"]["within_limit"] == PASS}
    fastest = max(able, key=lambda name: able[name]["speed"], default=None)
    reached = max(NO_SPEED_UP if fastest is None else able[fastest]["speed"], NO_SPEED_UP)
    return {
        "configurations": {
            name: {text: one[text] for text in ("tuning", "final")} for name, one in manual.items()
        },
        "fastest": fastest,
        "speed": reached,
        "searched_speed": speed,
        "better_than_manual": PASS
        if speed > reached and not math.isclose(speed, reached, rel_tol=1e-9)
        else FAIL,
    }
