"""The routing configurations of a study: what its named sets span, for each of their models."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from switchyard.errors import InputError
from switchyard.routing.registry import config_label, config_name, entry

RUN_SETTINGS = ("keep_logits", "spelled_out_samples")
"""What a set of configurations may say otherwise than `evaluation`."""

_OF_THE_SET = ("rule", "enabled", "models", *RUN_SETTINGS)


class Configuration(NamedTuple):
    """One routing configuration of a study on one model."""

    model: str
    """Name of the model."""
    name: str
    """As in file names."""
    label: str
    """As readers see it."""
    set_name: str
    """The set in `routing` that it comes from."""
    rule: str
    settings: dict[str, Any]
    """Of the rule; `matched` names the configuration that it takes its number of experts from."""
    run: dict[str, Any]
    """What its set says otherwise than `evaluation`."""

    @property
    def job(self) -> dict[str, Any]:
        """Arguments of `switchyard.study.experiment.build_rule` but for the files."""
        return {"config": self.name, "home": entry(self.rule).home, "settings": self.settings}

    @property
    def described(self) -> dict[str, Any]:
        """What tables say of it and no job needs."""
        settings = {key: self.settings.get(key) for key in ("matched", "target_k")}
        return {
            "model": self.model,
            "config": self.name,
            "set_name": self.set_name,
            "label": self.label,
            **settings,
        }

    @property
    def most_experts(self) -> int | None:
        """The most experts of a token that its settings name; None for a matched one, which has those of another."""
        most = self.settings.get("k") or self.settings.get("max_k")
        return most and math.ceil(most)  # a mean of 1.5 is drawn as 1 or 2


def configurations(config: dict[str, Any]) -> list[Configuration]:
    """Every configuration of the study: model by model, in the order of its sets.

    A set in `routing` spans the product of its list-valued settings, in the order in which they stand, for each of its
    `models` (default: all that are evaluated; with rule var, those of them that it has tables of). A set with `match`
    has one configuration for each of the sets that it names, on the models of those, its own `models` permitting.
    """
    sets = {name: one for name, one in config["routing"].items() if one["enabled"]}
    evaluated = config["evaluation"]["models"]
    found = []
    for model in evaluated:
        own = {name: one for name, one in sets.items() if model in _models(name, one, evaluated, config)}
        plain = {name: list(_spanned(model, name, one)) for name, one in own.items() if "match" not in one}
        matched = {
            name: [_matched(name, one, other) for other in _partners(name, one, plain, config["routing"])]
            for name, one in own.items()
            if "match" in one
        }
        found += [one for name in sets for one in (plain | matched).get(name, ())]
    return found


def observed_models(config: dict[str, Any]) -> list[str]:
    """Models whose routing is observed."""
    return config["observation"]["models"] or list(config["models"])


def var_models(config: dict[str, Any]) -> list[str]:
    """Models that VAR has tables of."""
    return config["var"]["models"] or observed_models(config)


def _models(name: str, given: dict[str, Any], evaluated: list[str], config: dict[str, Any]) -> list[str]:
    """Models that a set runs on."""
    able = [model for model in evaluated if given["rule"] != "var" or model in var_models(config)]
    wanted = given.get("models") or able
    if unknown := [model for model in wanted if model not in evaluated]:
        raise InputError(
            f"config: routing.{name}.models: {unknown[0]!r} is not evaluated; name some of {', '.join(evaluated)} "
            "(evaluation.models), or disable the set"
        )
    return wanted


def _spanned(model: str, name: str, given: dict[str, Any]) -> Iterator[Configuration]:
    settings = {key: value for key, value in given.items() if key not in _OF_THE_SET}
    axes = [key for key, value in settings.items() if isinstance(value, list)]
    for values in itertools.product(*(settings[axis] for axis in axes)):
        chosen = {**settings, **dict(zip(axes, values))}
        if chosen.get("min_k", 0) > chosen.get("max_k", 10**9):
            raise InputError(
                f"config: routing.{name}: min_k {chosen['min_k']} is above max_k {chosen['max_k']}; lower it"
            )
        if (
            not chosen.get("min_k", 0)
            <= chosen.get("target_k", chosen.get("min_k", 0))
            <= chosen.get("max_k", 10**9)
        ):
            raise InputError(
                f"config: routing.{name}: target_k {chosen['target_k']} is outside min_k {chosen['min_k']} to max_k "
                f"{chosen['max_k']}; no alpha gives such a mean"
            )
        try:
            own_name, label = config_name(given["rule"], chosen), config_label(given["rule"], chosen)
        except InputError as error:
            raise InputError(f"config: routing.{name}: {error}") from error
        yield Configuration(model, own_name, label, name, given["rule"], chosen, _run_settings(given))


def _partners(
    name: str, given: dict[str, Any], plain: dict[str, list[Configuration]], sets: dict[str, Any]
) -> Iterator[Configuration]:
    for other in given["match"]:
        if other not in sets or "match" in sets[other]:
            known = [set_name for set_name, one in sets.items() if "match" not in one]
            raise InputError(
                f"config: routing.{name}.match: {other!r} is no set with settings of its own; "
                f"name some of {', '.join(known)}"
            )
        yield from plain.get(other, ())


def _matched(name: str, given: dict[str, Any], partner: Configuration) -> Configuration:
    settings = {"matched": partner.name, "weighting": partner.settings["weighting"]}
    label = config_label(given["rule"], settings, partner=partner.label)
    own_name = config_name(given["rule"], settings)
    return Configuration(partner.model, own_name, label, name, given["rule"], settings, _run_settings(given))


def _run_settings(given: dict[str, Any]) -> dict[str, Any]:
    return {key: given[key] for key in RUN_SETTINGS if key in given}
