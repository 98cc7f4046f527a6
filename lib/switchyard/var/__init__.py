"""Verifiable Adaptive Routing: routes looked up where they can be foreseen; names are imported when first used."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "VARConfig": "config",
    "PRESETS": "config",
    "get_conservative_config": "config",
    "get_balanced_config": "config",
    "get_aggressive_config": "config",
    "RoutingTable": "table",
    "routing_table": "table",
    "VARRouter": "router",
    "VARMixtralWrapper": "wrapper",
    "Simulation": "simulation",
    "simulate": "simulation",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
