"""Refusing results that no run can produce."""

from __future__ import annotations

import duckdb

from switchyard.errors import InputError
from switchyard.warehouse.database import rows


class ImpossibleResult(InputError):
    """A result outside the bounds that every run obeys; it is refused, not published."""


def refuse_impossible(connection: duckdb.DuckDBPyConnection) -> None:
    """Raise ImpossibleResult for the first breach of `sql/invariants.sql`, in the study's order."""
    broken = (
        "FROM invariants JOIN experiments USING (config, dataset) WHERE NOT holds ORDER BY ordinal, metric"
    )
    found = rows(connection, f"SELECT config, dataset, metric, value, low, high {broken}")
    if found:
        raise ImpossibleResult(_told(found[0], len(found)))


def _told(breach: dict, number: int) -> str:
    low, high = breach["low"], breach["high"]
    bound = f"must be {low:.17g}" if low == high else f"must lie in {low:.17g}..{high:.17g}"
    others = f" (and {number - 1} more like it)" if number > 1 else ""
    return (
        f"{breach['config']} on {breach['dataset']}: {breach['metric']} is {breach['value']:.17g} but {bound}"
        f"{others}; delete this experiment's trace and scores and evaluate it again"
    )
