"""Routing rules and how they get into a model; names are imported when first used."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Selection": "selection",
    "TokenContext": "selection",
    "RoutingRule": "selection",
    "TopK": "topk",
    "BenjaminiHochberg": "bh",
    "NullDistribution": "nulls",
    "NULLS": "nulls",
    "p_values": "nulls",
    "read_nulls": "nulls",
    "nulls_table": "nulls",
    "fit_nulls": "fitting",
    "left_out": "fitting",
    "RULES": "registry",
    "make_rule": "registry",
    "rule_module": "registry",
    "config_name": "registry",
    "attach": "attachment",
    "Attachment": "attachment",
    "OLMoERouterPatcher": "patcher",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
