"""The routing configurations of a study: what its named sets of rules span."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

from switchyard.errors import InputError
from switchyard.routing.registry import config_label, config_name, entry

RUN_SETTINGS = ("keep_logits", "spelled_out_samples")
"""What a set of configurations may say otherwise than `evaluation`."""

_OF_THE_SET = ("rule", "enabled", *RUN_SETTINGS)


class Configuration(NamedTuple):
    """One routing configuration of a study."""

    name: str
    """As in file names."""
    label: str
    """As readers see it."""
    set_name: str
    """The set in `rules` that it comes from."""
    rule: str
    settings: dict[str, Any]
    """Of the rule; `matched` names the configuration that it takes its number of experts from."""
    run: dict[str, Any]
    """What its set says otherwise than `evaluation`."""

    @property
    def job(self) -> dict[str, Any]:
        """What a job must know to make the rule (`switchyard.study.experiment.build_rule`), and nothing else."""
        return {"config": self.name, "rule": self.rule, "home": entry(self.rule).home, **self.settings}

    @property
    def told(self) -> dict[str, Any]:
        """What is said of it in tables and no job needs."""
        settings = {key: self.settings.get(key) for key in ("matched", "target_k")}
        return {"set_name": self.set_name, "label": self.label, **settings}


def configurations(config: dict[str, Any]) -> list[Configuration]:
    """Every configuration of the study, in the order of its sets.

    A set in `rules` spans the product of its list-valued settings, in the order in which they stand. A set with
    `match` has one configuration for each of the sets that it names.
    """
    rules = {name: one for name, one in config["rules"].items() if one["enabled"]}
    plain = {name: list(_spanned(name, one)) for name, one in rules.items() if "match" not in one}
    matched = {
        name: [_matched(name, one, partner) for partner in _partners(name, one, plain, config["rules"])]
        for name, one in rules.items()
        if "match" in one
    }
    return [found for name in rules for found in (plain | matched)[name]]


def inspected(config: dict[str, Any]) -> list[str]:
    """Names of the configurations that the inspector shows: those asked for, or the first of each set."""
    first: dict[str, str] = {}
    for one in configurations(config):
        first.setdefault(one.set_name, one.name)
    return config["inspector"]["configurations"] or list(first.values())


def _spanned(name: str, given: dict[str, Any]) -> Iterator[Configuration]:
    settings = {key: value for key, value in given.items() if key not in _OF_THE_SET}
    axes = [key for key, value in settings.items() if isinstance(value, list)]
    for values in itertools.product(*(settings[axis] for axis in axes)):
        chosen = {**settings, **dict(zip(axes, values))}
        if chosen.get("min_k", 0) > chosen.get("max_k", 10**9):
            raise InputError(
                f"config: rules.{name}: min_k {chosen['min_k']} is above max_k {chosen['max_k']}; lower it"
            )
        try:
            own_name, label = config_name(given["rule"], chosen), config_label(given["rule"], chosen)
        except InputError as error:
            raise InputError(f"config: rules.{name}: {error}") from error
        yield Configuration(own_name, label, name, given["rule"], chosen, _run_settings(given))


def _partners(
    name: str, given: dict[str, Any], plain: dict[str, list[Configuration]], rules: dict[str, Any]
) -> Iterator[Configuration]:
    for other in given["match"]:
        if other not in rules or "match" in rules[other]:
            known = [set_name for set_name, one in rules.items() if "match" not in one]
            raise InputError(
                f"config: rules.{name}.match: {other!r} is no set with settings of its own; "
                f"name some of {', '.join(known)}"
            )
        yield from plain.get(other, ())


def _matched(name: str, given: dict[str, Any], partner: Configuration) -> Configuration:
    settings = {"matched": partner.name, "weighting": partner.settings["weighting"]}
    label = config_label(given["rule"], settings, partner=partner.label)
    own_name = config_name(given["rule"], settings)
    return Configuration(own_name, label, name, given["rule"], settings, _run_settings(given))


def _run_settings(given: dict[str, Any]) -> dict[str, Any]:
    return {key: given[key] for key in RUN_SETTINGS if key in given}
