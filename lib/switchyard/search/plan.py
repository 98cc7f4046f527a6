"""The search of a study as the workflow sees it: its batches, what each is asked from, what jobs are given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from switchyard.routing.registry import entry
from switchyard.search.methods import INITIAL
from switchyard.study.study import Study
from switchyard.var.config import configured

GRID, RANDOM, BAYESIAN = "grid", "random", "bayesian"


class Plan:
    """The section `search` of a study with what follows from it."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.settings: dict[str, Any] = study.config["search"]
        self.models: list[str] = self.settings["models"]
        self.methods: list[str] = self.settings["methods"]
        self.spaces: dict[str, dict[str, Any]] = self.settings["spaces"]
        self.q: int = self.settings["batch"]

    def seeds(self, method: str) -> list[int]:
        """Seeds of a method; a grid is the same for all and has the first."""
        seeds = self.settings["seeds"]
        return seeds[:1] if method == GRID else seeds

    def batches(self, method: str) -> int:
        """Batches of each seed."""
        return self.settings["grid_points" if method == GRID else "calls"] // self.q

    def points(self, model: str, method: str) -> Iterator[str]:
        """Files of a method's points, all seeds and batches."""
        for seed in self.seeds(method):
            for batch in range(self.batches(method)):
                yield self._points(model, method, seed, batch)

    def earlier(self, model: str, method: str, seed: int, batch: int) -> list[str]:
        """Files that a batch is asked from."""
        if method == GRID:
            return []
        return [self._points(model, method, seed, number) for number in range(batch)]

    def others(self, model: str, method: str, seed: int, batch: int) -> list[str]:
        """Files that hold a batch's points already: the initial ones of a Bayesian search are those of `random`."""
        if method == BAYESIAN and RANDOM in self.methods and batch * self.q < INITIAL:
            return [self._points(model, RANDOM, seed, batch)]
        return []

    def batch(self, method: str, seed: int, number: int) -> dict[str, Any]:
        """Fields of `switchyard.search.batches.Batch`."""
        return {"method": method, "seed": seed, "number": number, "q": self.q}

    def reads(self, model: str) -> dict[str, str]:
        """Files that the rules and spaces of a model need, by name."""
        found = self._files(model)
        return {name: path for name, path in found.items() if name != "nulls" or "bh" in self.spaces}

    def text(self, name: str) -> dict[str, Any]:
        """What is run of the text to search on (`dataset`), of the final one (`final`), or for the `ablation`."""
        key = self.settings["dataset" if name == "ablation" else name]
        samples = {
            "dataset": self.settings["samples"],
            "final": self.settings["final_samples"],
            "ablation": self.settings["ablation"]["samples"],
        }
        return {
            "path": f"{self.study.folder}/prepare/datasets/{key}.parquet",
            "samples": samples[name],
            "max_length": self.study.texts[key]["max_length"],
        }

    def job(self, model: str) -> dict[str, Any]:
        """What the jobs that run a model are given (`switchyard.search.job`)."""
        var, entry_of = self.study.config["var"], self.study.config["models"][model]
        asked = ("spaces", "max_quality_degradation", "speedup", "rounds", "sample_seed")
        search = {name: self.settings[name] for name in asked}
        return {
            "search": {**search, **{name: var[name] for name in ("batch_tokens", "tokens_per_second")}},
            "model_entry": {name: entry_of[name] for name in ("dtype", "quantise") if name in entry_of},
            "reads": self.reads(model),
            "bh_home": entry("bh").home if "bh" in self.spaces else None,
        }

    @property
    def ablated(self) -> list[str]:
        """Models whose rules have their components switched off in turn."""
        asked = self.settings["ablation"]["models"]
        return [model for model in (self.study.models if asked is None else asked) if self.wholes(model)]

    def wholes(self, model: str) -> dict[str, dict[str, Any]]:
        """The rules of a model that are ablated, `config` and `settings` each.

        VAR's first custom configuration, or else its last preset, and the model's first configuration of BH.
        """
        found, manual = {}, self.manual()
        names = [*self.study.config["var"]["custom"], *reversed(manual)]
        if names and model in self.study.var_models:
            found["var"] = {"config": names[0], "settings": manual[names[0]]}
        for name, one in self.study.of(model).items():
            if one.rule == "bh":
                return {**found, "bh": {"config": name, "settings": one.settings}}
        return found

    def ablation_job(self, model: str) -> dict[str, Any]:
        """What the job of the ablation is given beside its text; it reads only what the model's rules need."""
        job, wholes, files = self.job(model), self.wholes(model), self._files(model)
        needed = [*(["routing_table"] if "var" in wholes else []), *(["nulls"] if "bh" in wholes else [])]
        return {
            **job,
            "search": {**job["search"], "spaces": {}, "speedup": "cost"},
            "reads": {name: files[name] for name in needed},
            "bh_home": entry("bh").home if "bh" in wholes else None,
        }

    def manual(self) -> dict[str, dict[str, Any]]:
        """The study's VAR configurations, which nothing searched for: fields of a VARConfig by name."""
        found = {name: configured(settings)[0].as_json() for name, settings in self.study.var_configs.items()}
        return {name: {**fields, "routing_stats_path": None} for name, fields in found.items()}

    def code(self, script: str) -> str:
        """Fingerprint of a script's library code, with the rules whose settings are searched."""
        return self.study.code(script, rules=["bh"] if "bh" in self.spaces else [])

    def _files(self, model: str) -> dict[str, str]:
        folder = self.study.folder
        return {
            "routing_table": f"{folder}/var/{model}/routing_table.parquet",
            "routing_stats": f"{folder}/observe/{model}/routing_stats.parquet",
            "nulls": f"{folder}/calibrate/{model}/nulls.parquet",
        }

    def _points(self, model: str, method: str, seed: int, batch: int) -> str:
        return f"{self.study.folder}/search/{model}/{method}/seed{seed}/points/{batch}.parquet"
