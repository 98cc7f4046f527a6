"""Figures of a routing study: Altair charts made from the aggregate tables, one style for all."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "PANELS": "switchyard.charts.panels",
    "Tables": "switchyard.warehouse.study_tables",
    "WHOLE": "switchyard.charts.whole",
    "frontier": "switchyard.charts.frontier",
    "nine_panel": "switchyard.charts.figure",
    "null_histograms": "switchyard.charts.nulls",
    "paired_differences": "switchyard.charts.differences",
    "verdicts": "switchyard.charts.verdicts",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
