"""Text: where it comes from, the samples made of it, and the pocket corpus. Names load on demand."""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = {
    "Rows": "sources",
    "load_rows": "sources",
    "prepare": "tasks",
    "kind_of": "kinds",
    "harvest": "corpus",
    "train_tokenizer": "tokenizer",
    "prepare_pocket": "pocket",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
