"""Rules by name, imported when asked for, and the names of their configurations."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from switchyard.errors import InputError

if TYPE_CHECKING:
    from switchyard.routing.selection import RoutingRule

RULES = {
    "topk": "switchyard.routing.topk:TopK",
    "bh": "switchyard.routing.bh:BenjaminiHochberg",
}
"""Name of a rule -> `module:Class`. Strings, so that neither a process nor a fingerprint covers rules not used."""

_CONFIG_NAMES = {
    "topk": "{k}experts_topk_baseline",
    "bh": "{max_k}experts_bh_a{alpha_percent:03d}",
}


def rule_module(name: str) -> str:
    """The module that holds the rule `name`, for instance `switchyard.routing.topk`."""
    return _entry(name).partition(":")[0]


def make_rule(name: str, **settings: Any) -> RoutingRule:
    """The rule `name` with `settings`; alpha, where there is one, must be a multiple of 0.01.

    Raises InputError for an unknown rule, a setting the rule does not have or lacks, or a value it refuses.
    """
    module, _, class_name = _entry(name).partition(":")
    if "alpha" in settings:
        alpha_percent(settings["alpha"])
    rule_class = getattr(importlib.import_module(module), class_name)
    try:
        return rule_class(**settings)
    except TypeError as error:
        raise InputError(f"rule {name!r} with settings {', '.join(settings)}: {error}") from error


def config_name(rule: str, settings: dict[str, Any]) -> str:
    """The name of a configuration in file names: `8experts_topk_baseline`, `16experts_bh_a030`."""
    _entry(rule)
    fields = dict(settings)
    if "alpha" in settings:
        fields["alpha_percent"] = alpha_percent(settings["alpha"])
    try:
        return _CONFIG_NAMES[rule].format(**fields)
    except KeyError as error:
        raise InputError(f"rule {rule!r} lacks the setting {error} that its name is made of") from error


def alpha_percent(alpha: float) -> int:
    """100 alpha as a whole number from 1 to 99; InputError where alpha is no such multiple of 0.01."""
    percent = round(100 * alpha) if 0.0 < alpha < 1.0 else 0
    if abs(100 * alpha - percent) > 1e-9 or not 1 <= percent <= 99:
        raise InputError(
            f"alpha is {alpha}: use a multiple of 0.01 between 0.01 and 0.99 (it is in the file names)"
        )
    return percent


def _entry(name: str) -> str:
    if name not in RULES:
        raise InputError(f"routing rule {name!r} is unknown: use one of {', '.join(RULES)}")
    return RULES[name]
