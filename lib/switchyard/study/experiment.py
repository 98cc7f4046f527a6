"""An experiment's identity: its rule made from a configuration's settings, and the head of its logs."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

from switchyard.artifacts.files import read_stamp
from switchyard.artifacts.stamps import sha256_file, sha256_json
from switchyard.errors import InputError

SCHEMA_VERSION = 1
"""Of the logs, traces and scores; raised when a field changes its meaning."""

_NOT_SETTINGS = ("config", "rule", "home")


def build_rule(setting: Mapping[str, Any], files: Mapping[str, Any]) -> Any:
    """The routing rule of a configuration.

    Args:
        setting: `configurations.Configuration.job`.
        files: the study's files that the rule reads, by name: `nulls`, `logits`, `budgets`, `matched` (a list).

    Raises:
        InputError: a setting the rule does not have or lacks, or a value it refuses.
    """
    module, _, name = setting["home"].partition(":")
    rule_class = getattr(importlib.import_module(module), name)
    settings = {key: value for key, value in setting.items() if key not in _NOT_SETTINGS}
    try:
        if hasattr(rule_class, "from_study"):
            return rule_class.from_study(settings, files)
        return rule_class(**settings)
    except TypeError as error:
        raise InputError(f"{setting['config']}: settings {', '.join(settings)}: {error}") from error


def digests(files: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of every file that a rule reads, for a run stamp; of traces (a list), that of their own stamps."""
    return {
        name: sha256_json([read_stamp(path) for path in found])
        if isinstance(found, list)
        else sha256_file(found)
        for name, found in files.items()
    }


def rule_as_run(setting: Mapping[str, Any], rule: Any) -> dict[str, Any]:
    """A rule's settings as they were asked for, and its numbers as they were run: a solved alpha, a matched k."""
    asked = {key: value for key, value in setting.items() if key not in _NOT_SETTINGS}
    fields = {one.name: getattr(rule, one.name) for one in dataclasses.fields(rule) if one.init}
    return {
        **asked,
        **{name: value for name, value in fields.items() if isinstance(value, int | float | str)},
    }


def experiment_head(
    *,
    study: str,
    model: str,
    setting: Mapping[str, Any],
    rule: Any,
    dataset: str,
    structure: Mapping[str, Any],
) -> dict[str, Any]:
    """What every file of an experiment says about itself (DESIGN: `logs/{config}_{dataset}.json`).

    Raises:
        InputError: the rule asks for more experts than the model has.
    """
    fewest, most = rule.limits
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
        "min_k": fewest,
        "alpha": getattr(rule, "alpha", None),
        "null": setting.get("null_distribution"),
        "weighting": setting["weighting"],
        "num_experts": structure["num_experts"],
        "num_layers": structure["num_layers"],
        "trained_top_k": structure["top_k"],
        "dataset": dataset,
    }
