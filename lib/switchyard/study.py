"""An experiment's identity: its rule made from a configuration's settings, and the head of its logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from switchyard.errors import InputError
from switchyard.routing.nulls import read_nulls
from switchyard.routing.registry import make_rule

SCHEMA_VERSION = 1
"""Of the logs, traces and scores; raised when a field changes its meaning."""

_NOT_SETTINGS = ("config", "rule", "null_distribution")


def build_rule(setting: dict[str, Any], nulls: str | Path | None) -> Any:
    """The routing rule of a configuration (`config.experiments`), with its nulls read where it names one."""
    settings = {key: value for key, value in setting.items() if key not in _NOT_SETTINGS}
    if "null_distribution" in setting:
        settings["null"] = read_nulls(nulls, setting["null_distribution"])
    return make_rule(setting["rule"], **settings)


def experiment_head(
    *, study: str, model: str, setting: dict[str, Any], dataset: str, structure: dict[str, Any]
) -> dict[str, Any]:
    """What every file of an experiment says about itself (DESIGN: `logs/{config}_{dataset}.json`).

    Raises:
        InputError: the rule asks for more experts than the model has.
    """
    most = setting.get("max_k", setting.get("k"))
    if most > structure["num_experts"]:
        raise InputError(
            f"rules: {setting['config']} asks for {most} experts a token, {model} has "
            f"{structure['num_experts']}; lower it"
        )
    return {
        "schema_version": SCHEMA_VERSION,
        "study": study,
        "model": model,
        "config": setting["config"],
        "strategy": setting["rule"],
        "k_or_max_k": most,
        "min_k": setting.get("min_k"),
        "alpha": setting.get("alpha"),
        "null": setting.get("null_distribution"),
        "weighting": setting["weighting"],
        "num_experts": structure["num_experts"],
        "num_layers": structure["num_layers"],
        "trained_top_k": structure["top_k"],
        "dataset": dataset,
    }
