"""A study as the workflow sees it: its models, configurations and experiments, and what each job reads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from switchyard.artifacts.fingerprints import fingerprint
from switchyard.routing.registry import entry, rule_module
from switchyard.study.config import RESERVED_DATASETS
from switchyard.study.configurations import (
    RUN_SETTINGS,
    Configuration,
    configurations,
    observed_models,
    var_models,
)
from switchyard.study.experiment import Experiment, Run
from switchyard.study.models import bases, checkpoint_folder, known_structure
from switchyard.study.rule_files import files_of_rule


class Key(NamedTuple):
    """What names an experiment in files."""

    model: str
    config: str
    dataset: str


class Study:
    """A resolved configuration with what follows from it.

    Args:
        config: what `study.config.resolve` gives.
        checkout: the folder of the Snakefile.
    """

    def __init__(self, config: Mapping[str, Any], checkout: Path) -> None:
        self.config = config
        self.checkout = checkout
        self.name: str = config["study"]
        self.folder = f"results/{self.name}"
        self.models: list[str] = config["evaluation"]["models"]
        self.datasets = list(config["datasets"])
        self.texts = {
            **config["datasets"],
            **config["var"]["datasets"],
            **config["code"]["datasets"],
            **{name: config["calibration"][name] for name in RESERVED_DATASETS},
        }
        self.configurations = {(one.model, one.name): one for one in configurations(dict(config))}

    @cached_property
    def experiments(self) -> list[Key]:
        """Every experiment, model by model and configuration by configuration."""
        return [Key(*pair, dataset) for pair in self.configurations for dataset in self.datasets]

    @cached_property
    def observed(self) -> list[str]:
        """Models whose routing is observed."""
        return observed_models(dict(self.config))

    @cached_property
    def var_models(self) -> list[str]:
        """Models that VAR is compared on."""
        return var_models(dict(self.config))

    @cached_property
    def var_configs(self) -> dict[str, dict[str, Any]]:
        """Settings of `VARRouter.from_study` by name: the presets, and what differs from the defaults in one's own."""
        var = self.config["var"]
        presets = {name: {"preset": name} for name in var["presets"]}
        own = {name: {"preset": "balanced", **fields} for name, fields in var["custom"].items()}
        return presets | own

    @cached_property
    def profiled(self) -> list[str]:
        """Models that are profiled: those asked for, or all that are evaluated and have a rule to profile."""
        asked = self.config["profile"]["models"]
        return asked or [model for model in self.models if self.profiled_rules(model)]

    def profiled_rules(self, model: str) -> dict[str, dict[str, Any]]:
        """Rules that a model is profiled under: arguments of `build_rule`, with the files that each reads."""
        given = self.config["profile"]
        first = {one.set_name: name for name, one in reversed(self.of(model).items())}
        chosen = [first[name] for name in given["sets"] if name in first]
        found = {
            name: {
                **self.configurations[model, name].job,
                "files": self.rule_files(model, name, self.datasets),
            }
            for name in chosen
        }
        shared = {"tokens_per_second": self.config["var"]["tokens_per_second"]}
        table = {"routing_table": f"{self.folder}/var/{model}/routing_table.parquet"}
        for name in given["var"] if model in self.var_models else ():
            settings = {**self.var_configs[name], **shared}
            job = {"config": f"var_{name}", "home": entry("var").home, "settings": settings, "files": table}
            found[job["config"]] = job
        return found

    def profiled_files(self, model: str) -> list[str]:
        """What those rules read, each file once."""
        found = [path for job in self.profiled_rules(model).values() for path in job["files"].values()]
        return sorted({path for one in found for path in ([one] if isinstance(one, str) else one)})

    def profiled_modules(self, model: str) -> list[str]:
        """The modules of those rules."""
        homes = {job["home"].partition(":")[0] for job in self.profiled_rules(model).values()}
        return sorted(homes)

    @property
    def tasks(self) -> list[str]:
        """Sets of problems that programs are written for."""
        return list(self.config["code"]["datasets"])

    def writers(self, model: str) -> list[str]:
        """Configurations of a model that write programs; none without problems."""
        chosen = self.config["code"]["configurations"]
        return [name for name in self.of(model) if self.tasks and (chosen is None or name in chosen)]

    @property
    def swept_text(self) -> str:
        """The first set of running text that VAR is compared on: where its thresholds are swept."""
        return next(
            name for name, one in self.config["var"]["datasets"].items() if one["kind"] == "perplexity"
        )

    @cached_property
    def trained(self) -> list[str]:
        """Models that the study trains itself."""
        models = self.config["models"].items()
        return [name for name, one in models if one["source"] == "pocket" and one["retrain"]]

    @property
    def uses_hub(self) -> bool:
        """Whether anything comes from the hub."""
        entries = (*self.config["models"].values(), *self.texts.values(), *self.config["corpora"].values())
        return any(one["source"] == "hub" for one in entries)

    def environment(self) -> dict[str, str]:
        """Variables for all jobs: where they find the library, on whatever machine, and which folder they work for.

        Without anything from the hub, the hub's libraries ask for nothing.
        """
        offline = {} if self.uses_hub else {"HF_HUB_OFFLINE": "1"}
        library = str(self.checkout / "lib")
        return {"PYTHONPATH": library, "SWITCHYARD_CHECKOUT": str(Path.cwd()), **offline}

    def wildcards(self) -> dict[str, str]:
        """What each wildcard of the rules may be, as regular expressions."""
        names = {
            "model": self.config["models"],
            "config": {name for _, name in self.configurations},
            "dataset": self.texts,
            "corpus": self.config["corpora"],
            "task": self.tasks or ["none"],
            "text": RESERVED_DATASETS,
            "method": self.config["search"]["methods"],
        }
        return {wildcard: "|".join(map(re.escape, sorted(found))) for wildcard, found in names.items()}

    def shipped(self, *patterns: str) -> list[str]:
        """Files of the checkout as paths from the working directory, so that a moved checkout stays finished."""
        found = [path for pattern in patterns for path in sorted(self.checkout.glob(pattern))]
        return [os.path.relpath(path) for path in found]

    def of(self, model: str) -> dict[str, Configuration]:
        """The configurations of one model, by name."""
        return {one.name: one for one in self.configurations.values() if one.model == model}

    def inspected(self, model: str) -> list[str]:
        """Configurations of a model that the inspector shows: those asked for, or the first of each set."""
        own = self.of(model)
        first = {one.set_name: name for name, one in reversed(own.items())}
        return [
            name for name in own if name in (self.config["inspector"]["configurations"] or first.values())
        ]

    def inspected_experiments(self, model: str) -> list[Key]:
        """The experiments of a model that the inspector shows."""
        shown = self.inspected(model)
        return [key for key in self.experiments if key.model == model and key.config in shown]

    def budgets(self) -> list[tuple[str, str]]:
        """(model, configuration) of those whose alpha is solved for a budget."""
        return [pair for pair, one in self.configurations.items() if "budgets" in entry(one.rule).reads]

    def quantised(self) -> list[tuple[Key, Key]]:
        """Experiments of a quantised model and of the same weights as they are: the trained top-k on each dataset."""
        pairs = []
        for model, base in bases(self.config["models"]).items():
            top_k = (self.structure(base) or {}).get("top_k")
            both = self.of(model).keys() & self.of(base).keys()
            names = [name for name in self.of(model) if name in both]
            own = [name for name in names if self.of(model)[name].rule == "topk"]
            trained = [name for name in own if self.of(model)[name].settings["k"] == top_k][:1]
            pairs += [
                (Key(model, name, one), Key(base, name, one)) for name in trained for one in self.datasets
            ]
        return pairs

    def files(self, template: str, keys: Iterable[Key] | None = None) -> list[str]:
        """A path in the study's folder for each experiment; the template holds `{model}`, `{config}`, `{dataset}`."""
        chosen = self.experiments if keys is None else keys
        return [f"{self.folder}/{template.format(**key._asdict())}" for key in chosen]

    def experiment(self, model: str, config: str, dataset: str) -> Experiment:
        """Identity and settings of an experiment."""
        one = self.configurations[model, config]
        evaluation = self.config["evaluation"]
        shared = {key: evaluation[key] for key in ("batch_tokens", "threads", *RUN_SETTINGS)}
        return Experiment(
            study=self.name,
            model=model,
            config=config,
            dataset=dataset,
            rule=one.rule,
            home=entry(one.rule).home,
            settings=one.settings,
            model_entry=dict(self.config["models"][model]),
            dataset_entry=dict(self.texts[dataset]),
            run=Run(**{**shared, **one.run}),
        )

    def rule_files(
        self, model: str, config: str, datasets: Iterable[str], stage: str = "evaluate"
    ) -> dict[str, Any]:
        """What the rule of a configuration reads, by name; a matched one reads the other's traces on `datasets`.

        `stage` is the folder of those traces: `evaluate`, or `code` for sets of problems.
        """
        one = self.configurations[model, config]
        return files_of_rule(self.folder, model, config, one.rule, one.settings, datasets, stage)

    def files_of_rules(self, model: str, configs: Iterable[str]) -> list[str]:
        """What the rules of these configurations of a model read, each file once."""
        found = [file for name in configs for file in self.rule_files(model, name, self.datasets).values()]
        return sorted({path for file in found for path in ([file] if isinstance(file, str) else file)})

    def code(
        self,
        script: str,
        configurations: Iterable[tuple[str, str]] = (),
        *,
        rules: Iterable[str] = (),
        modules: Iterable[str] = (),
    ) -> str:
        """Fingerprint of the library code behind a rule's script, some configurations, routing rules and `modules`."""
        named = {*rules, *(self.configurations[pair].rule for pair in configurations)}
        found = sorted({*map(rule_module, named), *modules})
        return fingerprint(self.checkout / "workflow_scripts" / f"{script}.py", *found)

    def dataset_source(self, dataset: str) -> str | list[str]:
        """What a dataset is prepared from: the corpus, a local file, or nothing for the hub."""
        one = self.texts[dataset]
        if one["source"] == "pocket":
            return f"{self.folder}/prepare/corpus.parquet"
        return f"{self.config['data_folder']}/{one['path']}" if one["source"] == "file" else []

    def corpus_source(self, corpus: str) -> str | list[str]:
        """What a corpus is prepared from: the pocket corpus, local files, or nothing for the hub."""
        one = self.config["corpora"][corpus]
        if one["source"] == "pocket":
            return f"{self.folder}/prepare/corpus.parquet"
        return [f"{self.config['data_folder']}/{path}" for path in one.get("paths", [])]

    def model_source(self, model: str) -> list[str]:
        """Files of a checkpoint that lies on disk, so that a changed one is seen."""
        one = self.config["models"][model]
        return sorted(map(str, checkpoint_folder(one).glob("*"))) if one["source"] != "hub" else []

    def structure(self, model: str) -> dict[str, Any] | None:
        """What is known by now of a model; None for a model of the hub that was never here."""
        prepared = Path(f"{self.folder}/prepare/models/{model}")
        size = self.config["corpus"]["vocabulary_size"]
        return known_structure(self.config["models"][model], prepared, vocabulary_size=size)
