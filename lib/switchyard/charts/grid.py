"""The grid of a study: the configurations of its chief rule, which the panels along alpha show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from switchyard.charts import style
from switchyard.warehouse.study_tables import Tables

CHIEF = "bh"
MOST = 12
"""Most families that a panel can show; a study with more is cut down to the usual weighting, floor, limit or null."""
DIMENSIONS = {"k_or_max_k": "max_k", "null_name": "null", "weighting": "weighting", "min_k": "min_k"}
DIALS = {"bh": "α (false discovery rate)", "by": "α (false discovery rate)"}


@dataclass(frozen=True, eq=False)
class Grid:
    """Configurations of one rule with their `family`: what they share along the dial, max_k in the default study.

    `settings` are the dial's values as printed, `dial` and `short` its name, `dimension` what tells families apart,
    and `note` what has been left out of a grid that is too large to draw (empty if nothing).
    """

    configs: pd.DataFrame
    families: list[str]
    settings: list[str]
    dial: str
    short: str
    dimension: str
    note: str

    @property
    def names(self) -> pd.Series:
        """Configuration name -> family."""
        return self.configs.set_index("config_name")["family"]

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of `frame` (with `config_name`) that belong to the grid, with `family` and `setting`."""
        return frame.merge(self.configs[["config_name", "family", "setting"]], on="config_name")


@lru_cache(maxsize=4)
def grid(tables: Tables) -> Grid:
    """The grid of the BH rule, or of the study's first adaptive rule where it has no BH; possibly empty."""
    configs = style.configurations(tables)
    adaptive = configs[~configs["static"] & ~configs["control"]]
    chief = CHIEF if CHIEF in set(adaptive["routing_type"]) else next(iter(adaptive["routing_type"]), None)
    kept, notes = _cut(adaptive[adaptive["routing_type"] == chief])
    dimensions = _varying(kept) or ["k_or_max_k"]
    kept = kept.assign(family=kept[dimensions].astype(str).agg(", ".join, axis=1) if len(kept) else "")
    rule = next(iter(kept["rule"]), "")
    return Grid(
        configs=kept,
        families=list(dict.fromkeys(kept.sort_values("k_or_max_k", kind="stable")["family"])),
        settings=style.sorted_settings(kept["setting"]),
        dial=DIALS.get(chief, rule),
        short=rule.split()[-1] if rule else "",
        dimension=", ".join(DIMENSIONS[name] for name in dimensions),
        note="; ".join(notes),
    )


def _varying(configs: pd.DataFrame) -> list[str]:
    return [name for name in DIMENSIONS if configs[name].nunique() > 1]


def _cut(configs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    notes = []
    for name in ("weighting", "min_k", "k_or_max_k", "null_name"):
        varying = _varying(configs)
        if len(configs[varying].drop_duplicates()) <= MOST or name not in varying:
            continue
        usual = style.default(configs[name], name) if name in style.DEFAULTS else configs[name].iloc[0]
        configs = configs[configs[name] == usual]
        notes.append(f"{DIMENSIONS[name]} {usual} only")
    return configs, notes
