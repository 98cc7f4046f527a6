"""The study's DuckDB database: the sixteen metrics in SQL, and the tables and logs made from it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {
    "ImpossibleResult": "invariants",
    "build": "build",
    "describe_warehouse": "documentation",
    "refuse_differing_prints": "prints",
    "write_summaries": "summaries",
    "write_tables": "tables",
}

__all__ = [
    "ImpossibleResult",
    "build",
    "describe_warehouse",
    "refuse_differing_prints",
    "write_summaries",
    "write_tables",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
