"""What stands in the way of speed, by limits that are stated here, each with a severity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from switchyard.profiling.names import PRODUCTS

HIGH, MEDIUM, LOW = "high", "medium", "low"
LIMITS = {
    "component": (0.30, 0.15),
    "rule": (0.10, 0.03),
    "roofline": (0.10, 0.30),
    "tail": (2.0, 1.5),
    "growth": (1.8, 1.3),
    "idle": (0.50, 0.20),
}
"""By kind, from where a finding is of high and of medium severity; for the roofline, up to where."""

_WORK = (PRODUCTS, "attention", "head", "dense", "experts")
"""Components that are the model's own arithmetic."""


def bottlenecks(
    components: Sequence[Mapping[str, Any]],
    overheads: Iterable[Mapping[str, Any]],
    roofline: Sequence[Mapping[str, Any]],
    latencies: Iterable[Mapping[str, Any]],
    growth: Iterable[Mapping[str, Any]],
    device_use: Iterable[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Rows `kind, rule, phase, what, measured, limit, severity`, severest first; `limit` is that of medium severity.

    Kinds: a `component` beside the arithmetic (share of a forward); what a `rule` adds (share of a forward); the
    attained share of the `roofline`, median over the points; the `tail` of the latencies, P99 over P50; `growth` faster
    than the tokens; a card that is `idle` (share of the time).
    """
    found = [
        *_components(components),
        *(_row("rule", one, "what the rule adds", one["share_of_forward"]) for one in overheads),
        *_attained(roofline),
        *(_row("tail", one, "P99 over P50", one["tail_ratio"]) for one in latencies if one["tail_ratio"]),
        *(
            _row("growth", one, f"order of growth in {one['variable']}", one["order"])
            for one in growth
            if one["variable"] != "batch"
        ),
        *(_row("idle", one, "the card's idle share", one["idle_share"]) for one in device_use),
    ]
    order = [HIGH, MEDIUM, LOW]
    kept = [row for row in found if row["severity"] != LOW]
    return sorted(kept, key=lambda row: (order.index(row["severity"]), row["kind"]))


def _components(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        if row["component"] not in _WORK:
            yield _row("component", row, row["component"], row["percentage"] / 100)


def _attained(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for rule, phase in dict.fromkeys((row["rule"], row["phase"]) for row in rows):
        own = [row["attained_share"] for row in rows if (row["rule"], row["phase"]) == (rule, phase)]
        yield _row("roofline", {"rule": rule, "phase": phase}, "attained share of the roofline", median(own))


def _row(kind: str, place: Mapping[str, Any], what: str, measured: float) -> dict[str, Any]:
    high, medium = LIMITS[kind]
    sign = -1 if high < medium else 1
    severity = HIGH if sign * measured > sign * high else MEDIUM if sign * measured > sign * medium else LOW
    return {
        "kind": kind,
        "rule": place["rule"],
        "phase": place["phase"],
        "what": what,
        "measured": measured,
        "limit": medium,
        "severity": severity,
    }
