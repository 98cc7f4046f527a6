"""The figures of an observed model by name, each drawn from its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from switchyard.charts.routing.context_gain import context_gain
from switchyard.charts.routing.entropy_distribution import entropy_distribution
from switchyard.charts.routing.fastpath_coverage import fastpath_coverage
from switchyard.charts.routing.frequency_vs_entropy import frequency_vs_entropy
from switchyard.charts.routing.routing_consistency import routing_consistency
from switchyard.charts.routing.token_expert_heatmap import token_expert_heatmap
from switchyard.charts.routing.token_types import TokenTypes
from switchyard.charts.save import Figure, save


class Observed(NamedTuple):
    """What was found about one model; None where a table is not there."""

    types: TokenTypes
    counts: pd.DataFrame | None
    """`expert_counts.parquet`."""
    context: pd.DataFrame | None
    """`context.parquet`."""
    num_experts: int | None


OBSERVED: dict[str, Callable[[Observed], Figure]] = {
    "frequency_vs_entropy": lambda found: frequency_vs_entropy(found.types),
    "entropy_distribution": lambda found: entropy_distribution(found.types),
    "routing_consistency": lambda found: routing_consistency(found.types),
    "fastpath_coverage": lambda found: fastpath_coverage(found.types),
    "token_expert_heatmap": lambda found: token_expert_heatmap(
        found.types, found.counts, num_experts=found.num_experts
    ),
    "context_gain": lambda found: context_gain(found.context),
}

NEEDED = {"token_expert_heatmap": "counts", "context_gain": "context"}
"""The table that a figure is drawn from beside the token types."""


def drawable(found: Observed) -> list[str]:
    """Names of the figures whose tables are there."""
    return [name for name in OBSERVED if name not in NEEDED or getattr(found, NEEDED[name]) is not None]


def draw(found: Observed, folder: Path, made: Mapping[str, Any], progress: Callable[[int], object]) -> None:
    """Draw what can be drawn into a folder; `progress` is called with 1 after each figure."""
    for name in drawable(found):
        save(OBSERVED[name](found), folder, name, dict(made))
        progress(1)
