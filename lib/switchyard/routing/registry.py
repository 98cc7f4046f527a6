"""Rules by name: where each lives, what its configurations are called, what it reads of the study.

A table of strings, so that reading it imports no rule, and a rule that is added changes no other rule's fingerprint:
jobs are given the line of their own rule and never see this module.
"""

from __future__ import annotations

from string import Formatter
from typing import Any, NamedTuple

from switchyard.errors import InputError


class Entry(NamedTuple):
    """One rule. Its names are templates over its settings; `{x_percent}` is 100 x for a setting x below 1."""

    home: str
    """`module:Class`."""
    name: str
    """Name of a configuration, as in file names."""
    label: str
    """The same for readers."""
    reads: tuple[str, ...] = ()
    """Files of the study that `from_study` wants: nulls, logits (of the calibration text), budgets, routing_table."""


RULES = {
    "topk": Entry("switchyard.routing.topk:TopK", "{k}experts_topk_baseline", "top-{k}"),
    "bh": Entry(
        "switchyard.routing.bh:BenjaminiHochberg",
        "{max_k}experts_bh_a{alpha_percent:03d}",
        "BH α {alpha:.2f}, max {max_k}",
        ("nulls",),
    ),
    "bh_budget": Entry(
        "switchyard.routing.bh_budget:BudgetBenjaminiHochberg",
        "{max_k}experts_bh_budget_k{target_k:g}",
        "BH to mean {target_k:g}, max {max_k}",
        ("nulls", "budgets"),
    ),
    "by": Entry(
        "switchyard.routing.benjamini_yekutieli:BenjaminiYekutieli",
        "{max_k}experts_by_a{alpha_percent:03d}",
        "BY α {alpha:.2f}, max {max_k}",
        ("nulls",),
    ),
    "higher_criticism": Entry(
        "switchyard.routing.higher_criticism:HigherCriticism",
        "{max_k}experts_hc_g{gamma_percent:03d}",
        "HC γ {gamma:.2f}, max {max_k}",
        ("nulls",),
    ),
    "conformal": Entry(
        "switchyard.routing.conformal:Conformal",
        "{max_k}experts_conformal_a{alpha_percent:03d}",
        "conformal α {alpha:.2f}, max {max_k}",
        ("logits",),
    ),
    "local_fdr": Entry(
        "switchyard.routing.local_fdr:LocalFDR",
        "{max_k}experts_lfdr_a{alpha_percent:03d}",
        "local fdr α {alpha:.2f}, max {max_k}",
        ("nulls",),
    ),
    "top_p": Entry(
        "switchyard.routing.top_p:TopP",
        "{max_k}experts_top_p_p{p_percent:03d}",
        "top-p {p:.2f}, max {max_k}",
    ),
    "mixed_topk": Entry("switchyard.routing.mixed_topk:MixedTopK", "mixed_topk_k{k}", "mixed top-{k}"),
    "random_count": Entry("switchyard.routing.random_count:RandomCount", "random_count", "random count"),
    "var": Entry("switchyard.var.router:VARRouter", "var_{preset}", "VAR {preset}", ("routing_table",)),
}

DEFAULTS = {"null_distribution": "pooled", "weighting": "model", "min_k": 1}
"""Settings that a name leaves out when they have these values."""


def rule_module(name: str) -> str:
    """The module that holds the rule `name`, for instance `switchyard.routing.topk`."""
    return entry(name).home.partition(":")[0]


def config_name(rule: str, settings: dict[str, Any]) -> str:
    """The name of a configuration in file names: `8experts_topk_baseline`, `16experts_bh_a030_unselected`.

    Raises InputError where a level is no multiple of 0.01, or a setting that the name is made of is missing.
    """
    if settings.get("matched"):
        return f"{rule}_as_{settings['matched']}"
    suffixes = [f"min{value}" if key == "min_k" else f"{value}" for key, value in _unusual(settings)]
    return "_".join([_filled(entry(rule).name, rule, settings), *suffixes])


def config_label(rule: str, settings: dict[str, Any], *, partner: str | None = None) -> str:
    """What a reader calls a configuration; `partner` is the label of the one that it is matched with."""
    if partner is not None:
        return f"{_filled(entry(rule).label, rule, {'k': 'k'})} as {partner}"
    words = {"null_distribution": "{} null", "weighting": "{}", "min_k": "min {}"}
    suffixes = [words[key].format(value) for key, value in _unusual(settings)]
    return ", ".join([_filled(entry(rule).label, rule, settings), *suffixes])


def percent(name: str, value: float) -> int:
    """100 `value` as a whole number from 1 to 99; InputError where it is no such multiple of 0.01."""
    whole = round(100 * value) if 0.0 < value < 1.0 else 0
    if abs(100 * value - whole) > 1e-9 or not 1 <= whole <= 99:
        raise InputError(
            f"{name} is {value}: use a multiple of 0.01 between 0.01 and 0.99 (it is in the file names)"
        )
    return whole


def entry(name: str) -> Entry:
    """The line of the rule `name`; InputError where there is none."""
    if name not in RULES:
        raise InputError(f"routing rule {name!r} is unknown: use one of {', '.join(RULES)}")
    return RULES[name]


def _unusual(settings: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(key, settings[key]) for key, value in DEFAULTS.items() if settings.get(key, value) != value]


def _filled(template: str, rule: str, settings: dict[str, Any]) -> str:
    wanted = [name for _, name, _, _ in Formatter().parse(template) if name and name.endswith("_percent")]
    levels = {name: name.removesuffix("_percent") for name in wanted}
    fields = settings | {name: percent(key, settings[key]) for name, key in levels.items() if key in settings}
    try:
        return template.format(**fields)
    except KeyError as error:
        raise InputError(f"rule {rule!r} lacks the setting {error} that its name is made of") from error
