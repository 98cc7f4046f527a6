"""Refusing results that no run can produce."""

from __future__ import annotations

import duckdb

from switchyard.errors import InputError
from switchyard.warehouse.database import rows


class ImpossibleResult(InputError):
    """A result outside the bounds that every run obeys; it is refused, not published."""


def refuse_impossible(connection: duckdb.DuckDBPyConnection) -> None:
    """Raise ImpossibleResult for the first breach of `sql/invariants.sql`, in the study's order."""
    found = rows(
        connection,
        "SELECT model, config, dataset, metric, value, low, high "
        "FROM invariants JOIN experiments USING (model, config, dataset) WHERE NOT holds ORDER BY ordinal, metric",
    )
    if found:
        raise ImpossibleResult(_message(found[0], len(found)))


def _message(breach: dict, number: int) -> str:
    low, high = breach["low"], breach["high"]
    bound = f"must be {low:.17g}" if low == high else f"must lie in {low:.17g}..{high:.17g}"
    others = f" (and {number - 1} more like it)" if number > 1 else ""
    return (
        f"{breach['model']} {breach['config']} on {breach['dataset']}: {breach['metric']} is {breach['value']:.17g} "
        f"but {bound}{others}; delete this experiment's trace and scores and evaluate it again"
    )
