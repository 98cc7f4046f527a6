"""The figures of an observed model by name, each drawn from its tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from switchyard.charts.routing.context_gain import context_gain
from switchyard.charts.routing.entropy_distribution import entropy_distribution
from switchyard.charts.routing.fastpath_coverage import fastpath_coverage
from switchyard.charts.routing.frequency_vs_entropy import frequency_vs_entropy
from switchyard.charts.routing.layers import Figure
from switchyard.charts.routing.routing_consistency import routing_consistency
from switchyard.charts.routing.token_expert_heatmap import token_expert_heatmap
from switchyard.charts.routing.token_types import TokenTypes


class Observed(NamedTuple):
    """What was found about one model."""

    types: TokenTypes
    counts: pd.DataFrame
    """`expert_counts.parquet`."""
    context: pd.DataFrame
    """`context.parquet`."""
    num_experts: int


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
