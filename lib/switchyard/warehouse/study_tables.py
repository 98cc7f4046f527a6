"""The aggregate tables of a study, as the figures and the report read them; those of one model by `of`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from switchyard.artifacts.files import read_table
from switchyard.errors import InputError

STATIC = "topk"
"""`routing_type` of the rules that give every token the same number of experts."""

FILES = {
    "results": "bh_routing_results",
    "overall": "bh_routing_configs",
    "layers": "routing_by_layer",
    "usage": "expert_usage",
    "counts": "count_distribution",
    "differences": "paired_differences",
    "configurations": "configurations",
    "equal_compute": "equal_compute",
}


@dataclass(frozen=True, eq=False)
class Tables:
    """Pandas frames of the aggregate stage; `results` has one row per experiment, `overall` one per configuration."""

    results: pd.DataFrame
    overall: pd.DataFrame
    layers: pd.DataFrame
    usage: pd.DataFrame
    counts: pd.DataFrame
    differences: pd.DataFrame
    configurations: pd.DataFrame
    equal_compute: pd.DataFrame

    @classmethod
    def read(cls, folder: str | Path) -> Tables:
        """Read the Parquet files of `results/<study>/aggregate`; a missing file is an InputError."""
        return cls(**{name: _read(Path(folder) / f"{file}.parquet") for name, file in FILES.items()})

    @cached_property
    def models(self) -> list[str]:
        """Evaluated models, in the study's order."""
        return list(self.configurations["model"].unique())

    def of(self, model: str) -> Tables:
        """The tables of one model."""
        frames = {name: getattr(self, name) for name in FILES}
        return Tables(
            **{name: frame[frame["model"] == model].reset_index(drop=True) for name, frame in frames.items()}
        )

    @cached_property
    def configs(self) -> pd.DataFrame:
        """One row per configuration, static rules first, then by cap and alpha; `static` is plain top-k."""
        configs = self.configurations.copy()
        configs["static"] = configs["routing_type"] == STATIC
        configs["alpha"] = configs["alpha"].astype(float)
        order = ["static", "k_or_max_k", "alpha", "config_name"]
        return configs.sort_values(order, ascending=[False, True, True, True]).reset_index(drop=True)

    @cached_property
    def labels(self) -> dict[str, str]:
        """Configuration name -> what a reader calls it, `top-8` or `BH α 0.30, max 16`."""
        return dict(zip(self.configs["config_name"], self.configs["label"], strict=True))

    @cached_property
    def datasets(self) -> list[str]:
        """Datasets, those without an accuracy (texts) first, then by name."""
        scored = set(self.accuracy_datasets)
        return sorted(self.results["dataset"].unique(), key=lambda name: (name in scored, name))

    @cached_property
    def accuracy_datasets(self) -> list[str]:
        """Datasets that have an accuracy."""
        if "avg_task_accuracy" not in self.results:
            return []
        scored = self.results.loc[self.results["avg_task_accuracy"].notna(), "dataset"]
        return sorted(scored.unique())

    @cached_property
    def trained(self) -> str:
        """Name of the configuration the model was trained with, which all others are compared with.

        A model with a single configuration has nothing to compare; that configuration is taken.

        Raises:
            InputError: `differences` compares with no configuration, or with several.
        """
        names = sorted(self.differences["against"].dropna().unique())
        if not names and len(self.configs) == 1:
            names = list(self.configs["config_name"])
        if len(names) != 1:
            raise InputError(
                f"paired_differences: column against names {len(names)} configurations ({', '.join(names) or 'none'}); "
                "the figures need one: include the model's trained top-k among the configurations"
            )
        return str(names[0])

    @cached_property
    def trained_top_k(self) -> int:
        """Experts per token of the trained configuration.

        Raises:
            InputError: `configs` has no row of that configuration.
        """
        rows = self.configs.loc[self.configs["config_name"] == self.trained, "k_or_max_k"]
        if rows.empty:
            raise InputError(
                f"bh_routing_results: no row for {self.trained}; evaluate the trained top-k as well"
            )
        return int(rows.iloc[0])


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path}: no such table; run the aggregate stage first")
    return read_table(path).to_pandas()
