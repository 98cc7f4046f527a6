"""An experiment: its identity and settings as one value, the rule made from them, and the head of its logs."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from switchyard.errors import InputError

SCHEMA_VERSION = 1
"""Of the logs, traces and scores; raised when a field changes its meaning."""

REPEAT_SAMPLES = 20
"""Samples of an experiment that are run a second time for the stability metrics."""


@dataclass(frozen=True)
class Run:
    """How an experiment is run: `evaluation` of the study, with what the set of configurations says otherwise."""

    batch_tokens: int
    """Most tokens of a batch, padding included."""
    threads: int
    keep_logits: bool
    """Whether the trace holds every router logit."""
    spelled_out_samples: int | None
    """Samples written out in the internal log; None for all."""


@dataclass(frozen=True)
class Experiment:
    """A configuration of a model on a dataset, with everything that its numbers depend on but the files it reads.

    It stands whole in the run stamp, so that the experiment can be repeated from a result.
    """

    study: str
    model: str
    config: str
    """Name of the configuration, as in file names."""
    dataset: str
    rule: str
    """Name of the routing rule in the registry."""
    home: str
    """`module:Class` of the rule."""
    settings: dict[str, Any]
    """Of the rule, as the study asks for them."""
    model_entry: dict[str, Any]
    """The entry of `models` in the study."""
    dataset_entry: dict[str, Any]
    """The entry of `datasets` in the study."""
    run: Run

    @property
    def dtype(self) -> str:
        """Precision of weights and arithmetic."""
        return self.model_entry["dtype"]

    @property
    def max_length(self) -> int:
        """Most tokens of a sequence."""
        return self.dataset_entry["max_length"]

    @property
    def samples(self) -> int:
        """Samples that are evaluated."""
        return self.dataset_entry["samples"]

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """The experiment as JSON text."""
        return json.dumps(self.as_json(), indent=2)

    @classmethod
    def from_json(cls, content: Mapping[str, Any] | str) -> Experiment:
        """The experiment of a run stamp, of a job's parameters, or of JSON text."""
        content = json.loads(content) if isinstance(content, str) else content
        return cls(**{**content, "run": Run(**content["run"])})

    def build_rule(self, files: Mapping[str, Any]) -> Any:
        """The routing rule, see `build_rule`."""
        return build_rule(self.config, self.home, self.settings, files)

    def rule_as_run(self, rule: Any) -> dict[str, Any]:
        """The rule's settings as asked for, and its numbers as they were run: a solved alpha, a matched k, a config."""
        fields = {one.name: getattr(rule, one.name) for one in dataclasses.fields(rule) if one.init}
        numbers = {name: value for name, value in fields.items() if isinstance(value, int | float | str)}
        configs = {name: value.as_json() for name, value in fields.items() if hasattr(value, "as_json")}
        return {**self.settings, **numbers, **configs}

    def head(self, rule: Any, structure: Mapping[str, Any]) -> dict[str, Any]:
        """What every file of the experiment says about itself, such as `logs/{config}_{dataset}.json`.

        Raises:
            InputError: the rule asks for more experts than the model has.
        """
        fewest, most = rule.limits
        if most > structure["num_experts"]:
            raise InputError(
                f"routing: {self.config} asks for {most} experts a token, {self.model} has "
                f"{structure['num_experts']}; lower it"
            )
        return {
            "schema_version": SCHEMA_VERSION,
            "study": self.study,
            "model": self.model,
            "config": self.config,
            "strategy": self.rule,
            "k_or_max_k": most,
            "min_k": fewest,
            "alpha": getattr(rule, "alpha", None),
            "null": self.settings.get("null_distribution"),
            "weighting": self.settings["weighting"],
            "num_experts": structure["num_experts"],
            "num_layers": structure["num_layers"],
            "trained_top_k": structure["top_k"],
            "dataset": self.dataset,
        }


ExperimentConfig = Experiment
"""The name in the project's first documents."""


def build_rule(config: str, home: str, settings: Mapping[str, Any], files: Mapping[str, Any]) -> Any:
    """The routing rule of a configuration.

    Args:
        config: its name, for messages.
        home: `module:Class` of the rule.
        settings: of the rule.
        files: the study's files that the rule reads, by name: `nulls`, `logits`, `budgets`, `matched` (a list).

    Raises:
        InputError: a setting the rule does not have or lacks, or a value it refuses.
    """
    module, _, name = home.partition(":")
    rule_class = getattr(importlib.import_module(module), name)
    try:
        if hasattr(rule_class, "from_study"):
            return rule_class.from_study(settings, files)
        return rule_class(**settings)
    except TypeError as error:
        raise InputError(f"{config}: settings {', '.join(settings)}: {error}") from error
