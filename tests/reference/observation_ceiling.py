"""Ceilings, entropies and cross-entropies of count tables in plain loops.

Rows are dicts `layer, domain, token_id, expert, count`, for contexts also `context, key`; all of one layer and context.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

Rows = list[dict[str, Any]]
Key = Callable[[dict[str, Any]], Any]
KEYS: dict[str, Key] = {
    "global": lambda row: None,
    "token": lambda row: row["token_id"],
    "context": lambda row: (row["token_id"], row["key"]),
}


def totals(rows: Rows, key: Key, num_experts: int) -> dict[Any, list[int]]:
    """Uses of every expert by key; keys without uses are absent."""
    found: dict[Any, list[int]] = defaultdict(lambda: [0] * num_experts)
    for row in rows:
        if row["count"]:
            found[key(row)][row["expert"]] += row["count"]
    return dict(found)


def best(uses: list[int], top_k: int) -> list[int]:
    return sorted(range(len(uses)), key=lambda expert: (-uses[expert], expert))[:top_k]


def share_hit(rows: Rows, table: Callable[[dict[str, Any]], list[int]]) -> tuple[int, int]:
    hit = sum(row["count"] for row in rows if row["expert"] in table(row))
    return hit, sum(row["count"] for row in rows)


def domains(rows: Rows) -> list[str]:
    return sorted({row["domain"] for row in rows if row["count"]})


def ceilings(rows: Rows, levels: list[str], top_k: int, num_experts: int) -> dict[str, dict[str, dict]]:
    """domain -> level -> numbers of uses: all, in_sample, left_out, unseen; a level falls back to those before it."""
    found: dict[str, dict[str, dict]] = {}
    for domain in domains(rows):
        own = [row for row in rows if row["domain"] == domain]
        others = [row for row in rows if row["domain"] != domain]
        found[domain] = {}
        for depth, level in enumerate(levels):
            key = KEYS[level]
            itself = totals(own, key, num_experts)
            tables = [(KEYS[one], totals(others, KEYS[one], num_experts)) for one in levels[: depth + 1]]

            def look_up(row: dict, tables: list = tables) -> list[int]:
                for key, table in reversed(tables):
                    if key(row) in table:
                        return best(table[key(row)], top_k)
                raise AssertionError("the other domains have no uses")

            in_sample, uses = share_hit(
                own, lambda row, key=key, itself=itself: best(itself[key(row)], top_k) if row["count"] else []
            )
            found[domain][level] = {"uses": uses, "in_sample": in_sample, "left_out": None, "unseen": None}
            if len(domains(rows)) > 1:
                unseen = sum(row["count"] for row in own if key(row) not in tables[-1][1])
                found[domain][level].update(left_out=share_hit(own, look_up)[0], unseen=unseen)
    return found


def share(found: dict[str, dict[str, dict]], level: str, part: str) -> float | None:
    """Over all domains, weighted by their uses."""
    parts = [one[level][part] for one in found.values()]
    return None if None in parts else sum(parts) / sum(one[level]["uses"] for one in found.values())


def entropy(rows: Rows, level: str, num_experts: int) -> float:
    """H(expert | key), nats, all domains together."""
    by_key = totals(rows, KEYS[level], num_experts)
    everything = sum(sum(uses) for uses in by_key.values())
    result = 0.0
    for uses in by_key.values():
        for count in uses:
            if count:
                result -= count / everything * math.log(count / sum(uses))
    return result


def cross_entropy(rows: Rows, levels: list[str], num_experts: int) -> float | None:
    """Nats per use under the other domains' distributions, each level smoothed towards the one before."""
    if len(domains(rows)) == 1:
        return None
    result, everything = 0.0, 0
    for domain in domains(rows):
        others = [row for row in rows if row["domain"] != domain]
        tables = [(KEYS[level], totals(others, KEYS[level], num_experts)) for level in levels]
        for row in rows:
            if row["domain"] == domain:
                probability = 1 / num_experts
                for key, table in tables:
                    uses = table.get(key(row), [0] * num_experts)
                    probability = (uses[row["expert"]] + num_experts * probability) / (
                        sum(uses) + num_experts
                    )
                result -= row["count"] * math.log(probability)
                everything += row["count"]
    return result / everything
