"""The grid of a study: the configurations of its chief rule, which the panels along alpha show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from switchyard.charts.looks import DEFAULTS, configurations, default, sorted_values
from switchyard.warehouse.study_tables import Tables

CHIEF = "bh"
MOST = 12
"""Most families that a panel can show; a study with more is cut down to the usual weighting, floor, limit or null."""
FEW = 6
"""Most families that get a view of their own."""
DIMENSIONS = {"k_or_max_k": "max_k", "null_name": "null", "weighting": "weighting", "min_k": "min_k"}
HYPERPARAMETERS = {"bh": "α (false discovery rate)", "by": "α (false discovery rate)"}


@dataclass(frozen=True, eq=False)
class Grid:
    """Configurations of one rule with their `member`: what they share along the hyperparameter, by default max_k.

    `values` are the hyperparameter's as printed, `name` and `short` its name, `dimension` what tells members apart,
    and `note` what has been left out of a grid that is too large to draw (empty if nothing).
    """

    configs: pd.DataFrame
    members: list[str]
    values: list[str]
    name: str
    short: str
    dimension: str
    note: str

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of `frame` (with `config_name`) that belong to the grid, with `member` and `value`."""
        return frame.merge(self.configs[["config_name", "member", "value"]], on="config_name")

    def split(self) -> tuple[str, list[str], str, list[str], str]:
        """How views divide the grid: column of the views, its values, column along an axis, its values, its title.

        A view for each member, or for each value where there are many members.
        """
        if len(self.members) <= FEW:
            return "member", self.members, "value", self.values, self.short
        return "value", self.values, "member", self.members, self.dimension

    def view_title(self, value: str) -> str:
        """Heading of one of the views that `split` makes."""
        return f"{self.dimension if len(self.members) <= FEW else self.short} {value}"


@lru_cache(maxsize=4)
def grid(tables: Tables) -> Grid:
    """The grid of the BH rule, or of the study's first adaptive rule where it has no BH; possibly empty."""
    configs = configurations(tables)
    adaptive = configs[~configs["static"] & ~configs["control"]]
    chief = CHIEF if CHIEF in set(adaptive["routing_type"]) else next(iter(adaptive["routing_type"]), None)
    kept, notes = _cut(adaptive[adaptive["routing_type"] == chief])
    dimensions = _varying(kept) or ["k_or_max_k"]
    kept = kept.assign(member=kept[dimensions].astype(str).agg(", ".join, axis=1) if len(kept) else "")
    rule = next(iter(kept["rule"]), "")
    return Grid(
        configs=kept,
        members=list(dict.fromkeys(kept.sort_values("k_or_max_k", kind="stable")["member"])),
        values=sorted_values(kept["value"]),
        name=HYPERPARAMETERS.get(chief, rule),
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
        usual = default(configs[name], name) if name in DEFAULTS else configs[name].iloc[0]
        configs = configs[configs[name] == usual]
        notes.append(f"{DIMENSIONS[name]} {usual} only")
    return configs, notes
