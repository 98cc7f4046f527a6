"""Routing rules and how they get into a model; names are imported when first used."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Selection": "selection",
    "TokenContext": "selection",
    "RoutingRule": "selection",
    "TopK": "topk",
    "AdaptiveRule": "adaptive",
    "BenjaminiHochberg": "bh",
    "BudgetBenjaminiHochberg": "bh_budget",
    "BenjaminiYekutieli": "benjamini_yekutieli",
    "HigherCriticism": "higher_criticism",
    "Conformal": "conformal",
    "LocalFDR": "local_fdr",
    "TopP": "top_p",
    "MixedTopK": "mixed_topk",
    "RandomCount": "random_count",
    "Budget": "budgets",
    "solve_alpha": "budgets",
    "budget_table": "budgets",
    "read_budget": "budgets",
    "uniform_draws": "draws",
    "NullDistribution": "nulls",
    "NULLS": "null_names",
    "p_values": "nulls",
    "read_nulls": "nulls",
    "nulls_table": "nulls",
    "fit_nulls": "fitting",
    "left_out": "null_names",
    "RULES": "registry",
    "config_label": "registry",
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
