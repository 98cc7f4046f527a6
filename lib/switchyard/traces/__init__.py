"""Routing traces: every decision, lossless, one row per (sample, sequence, layer, position)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {
    "TraceWriter": "writer",
    "Trace": "reader",
    "TraceSlice": "reader",
    "write_internal_log": "internal_log",
}

__all__ = ["Trace", "TraceSlice", "TraceWriter", "write_internal_log"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
