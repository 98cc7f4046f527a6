"""The report in words and tables: what the aggregate tables of a study say, and nothing they do not."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "derive": "switchyard.reporting.findings",
    "html_table": "switchyard.reporting.tables",
    "main_table": "switchyard.reporting.paper",
    "render": "switchyard.reporting.report",
    "write_paper_tables": "switchyard.reporting.paper",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
