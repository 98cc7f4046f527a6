"""What routers do, token by token: statistics, ceilings of routing tables, and VAR's hypothesis."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {
    "RoutingStatistics": "statistics",
    "Verdict": "hypothesis",
    "context_measures": "context",
    "table_ceiling": "ceiling",
    "validate": "hypothesis",
    "report_text": "validation_report",
}

__all__ = [
    "RoutingStatistics",
    "Verdict",
    "context_measures",
    "table_ceiling",
    "validate",
    "report_text",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
