"""What a rule adds to the routing and what it saves, by the roadmap's names.

A rule's overhead is what it does beside the model's own router: VAR's hash, table look-up (its gating) and cache; the
sort and the tests of an adaptive rule. What it saves is the baseline's router time less its own router's. Times are
means of a forward over all layers, in microseconds. The router's time of an attached model includes what `attach` does
in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from switchyard.profiling.names import (
    ATTACH,
    CACHE,
    COMBINE,
    GATHER,
    HASH,
    LEARNED,
    LOOK_UP,
    P_VALUES,
    PRODUCTS,
    ROUTER,
    RULE,
    SORT,
    TABLE,
    UNTOUCHED,
    WRITE,
)

LIMIT_PERCENT = 10.0
"""Of the baseline's routing time, which the roadmap allows a rule to add."""

_EXPERTS = (GATHER, PRODUCTS, COMBINE)


def overheads(components: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each rule and phase of the table of components, the untouched model being the baseline."""
    spent: dict[tuple[str, str], dict[str, float]] = {}
    for row in components:
        spent.setdefault((row["rule"], row["phase"]), {})[row["component"]] = 1000 * row["mean_ms"]
    return [
        {"rule": rule, "phase": phase, **_overhead(own, spent[UNTOUCHED, phase])}
        for (rule, phase), own in spent.items()
        if rule != UNTOUCHED
    ]


def _overhead(own: Mapping[str, float], baseline: Mapping[str, float]) -> dict[str, Any]:
    parts = {
        "hashing_overhead_us": _sum(own, HASH),
        "cache_overhead_us": _sum(own, CACHE, WRITE),
        "gating_overhead_us": _sum(own, TABLE, LOOK_UP),
        "testing_overhead_us": _sum(own, SORT, P_VALUES, RULE),
    }
    routing = _sum(baseline, ROUTER)
    added = sum(parts.values())
    savings = routing - _sum(own, ROUTER, LEARNED)
    percentage = 100 * added / routing
    return {
        **parts,
        "total_overhead_us": added,
        "baseline_routing_us": routing,
        "routing_savings_us": savings,
        "net_benefit_us": savings - added,
        "expert_savings_us": _sum(baseline, *_EXPERTS) - _sum(own, *_EXPERTS),
        "attach_us": _sum(own, ATTACH),
        "overhead_percentage": percentage,
        "limit_percentage": LIMIT_PERCENT,
        "within_limit": percentage < LIMIT_PERCENT,
        "share_of_forward": added / sum(own.values()),
    }


def _sum(parts: Mapping[str, float], *names: str) -> float:
    return sum(parts.get(name, 0.0) for name in names)
