"""BH with a budget: its level is not given but solved, so that it spends a wanted mean number of experts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from switchyard.routing.adaptive import DEFAULT_NULL
from switchyard.routing.bh import BenjaminiHochberg
from switchyard.routing.budgets import read_budget


@dataclass(frozen=True)
class BudgetBenjaminiHochberg(BenjaminiHochberg):
    """BH at the `alpha` that gives a mean of `target_k` experts on the calibration text.

    On other text the mean is another. See `switchyard.routing.budgets.solve_alpha`.
    """

    name: ClassVar[str] = "bh_budget"

    target_k: float | None = field(default=None, kw_only=True)

    @classmethod
    def from_study(cls, settings: Mapping[str, Any], files: Mapping[str, Any]) -> Self:
        """The rule of a configuration, with the alpha that the study solved for its target."""
        budget = read_budget(
            files["budgets"],
            null=settings.get("null_distribution", DEFAULT_NULL),
            min_k=settings.get("min_k", cls.min_k),
            max_k=settings["max_k"],
            target_k=settings["target_k"],
        )
        return super().from_study({**settings, "alpha": budget.alpha}, files)
