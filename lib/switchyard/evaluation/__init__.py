"""Scores and speed of a model under a routing rule. Names load on demand."""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = {
    "Sample": "sequences",
    "Sequence": "sequences",
    "build_samples": "sequences",
    "SequenceScore": "likelihood",
    "score": "likelihood",
    "score_table": "scores",
    "run_experiment": "experiment",
    "run_repeat": "experiment",
    "measure": "speed",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
