"""What VAR counts, in the schema of a result: shares of the paths and of the look-ups that hit, in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PATHS = ("learned", "fast", "cached")
"""Names of the values of `Selection.path`."""

_SHOWN = ("fast", "cached", "learned")
_LINE = "=" * 66


def performance_stats(by_layer: Mapping[int, tuple[Sequence[int], int]]) -> dict[str, Any]:
    """`overall` and `per_layer` (by the layer's number as text): `routing_distribution` {fast, cached, learned} in % of
    calls, `cache_hit_rate` in % of look-ups, `total_calls`. A share of nothing is 0.

    Args:
        by_layer: for each patched layer, real tokens on each of PATHS and how many of them looked into the cache.
    """
    paths = [sum(column) for column in zip(*(paths for paths, _ in by_layer.values()), strict=True)] or [
        0,
        0,
        0,
    ]
    return {
        "overall": _shares(paths, sum(lookups for _, lookups in by_layer.values())),
        "per_layer": {str(layer): _shares(*by_layer[layer]) for layer in sorted(by_layer)},
    }


def performance_summary(stats: Mapping[str, Any]) -> str:
    """The statistics of all layers together, for a console."""
    overall = stats["overall"]
    shares = [f"  {name:<8}: {overall['routing_distribution'][name]:.1f}%" for name in _SHOWN]
    return "\n".join(
        [
            _LINE,
            "VAR performance",
            _LINE,
            "",
            "VAR Routing Distribution:",
            *shares,
            "",
            f"Cache hit rate: {overall['cache_hit_rate']:.1f}%",
            f"Total calls:    {overall['total_calls']:,} in {len(stats['per_layer'])} layers",
            _LINE,
        ]
    )


def _shares(paths: Sequence[int], lookups: int) -> dict[str, Any]:
    calls = dict(zip(PATHS, paths, strict=True))
    total = sum(paths)
    return {
        "routing_distribution": {name: _percent(calls[name], total) for name in _SHOWN},
        "cache_hit_rate": _percent(calls["cached"], lookups),
        "total_calls": total,
    }


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0
