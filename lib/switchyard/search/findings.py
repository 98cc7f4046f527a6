"""What a search found: the best feasible point, the frontier, and how much of the space was worth searching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from switchyard.search.points import point_of
from switchyard.search.space import Space


def best(rows: pd.DataFrame) -> dict[str, Any] | None:
    """The fastest feasible row; of equals the one with the least degradation, then the first; None without any."""
    feasible = rows[rows["feasible"].eq(True)]
    if feasible.empty:
        return None
    ordered = feasible.sort_values(["speed", "degradation"], ascending=[False, True], kind="stable")
    return ordered.iloc[0].to_dict()


def best_config(
    rows: pd.DataFrame,
    spaces: Sequence[Space],
    *,
    max_quality_degradation: float,
    routing_stats_path: str | None = None,
) -> dict[str, Any]:
    """The best feasible point of all spaces as fields of a VARConfig; without any VAR is off, the untouched model.

    `max_quality_degradation` is the limit that the point was feasible under.
    """
    row = best(rows)
    fixed = {"routing_stats_path": routing_stats_path, "max_quality_degradation": max_quality_degradation}
    if row is None:
        return {"enable_var": False, **fixed}
    space = next(one for one in spaces if one.name == row["space"])
    return {**space.settings(point_of(row, space)), **fixed}


def pareto(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows that no other beats in speed without being worse in degradation, from the least degradation upwards.

    Infeasible points stand among them, failed ones do not; of equal points the first.
    """
    judged = rows[rows["objective"].notna()]
    ordered = judged.sort_values(["degradation", "speed"], ascending=[True, False], kind="stable")
    before = ordered["speed"].cummax().shift(fill_value=-float("inf"))
    return ordered[ordered["speed"] > before].reset_index(drop=True)


def shares(rows: pd.DataFrame) -> Mapping[str, float | int | None]:
    """`points`, and the shares of them that were `infeasible`, `failed`, and `flat`: all tokens routed as untouched.

    `flat` is of the points whose `acting_share` is known, None where it is of none.
    """
    known = rows["acting_share"].dropna()
    of = max(len(rows), 1)
    return {
        "points": len(rows),
        "infeasible": int(rows["feasible"].eq(False).sum()) / of,
        "failed": int(rows["failed"].notna().sum()) / of,
        "flat": None if known.empty else int((known == 0).sum()) / len(known),
    }
