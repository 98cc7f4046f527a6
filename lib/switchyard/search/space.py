"""Search spaces are data: named dimensions with their ranges, and how a point becomes settings of a rule.

A point is a plain dict, one value per dimension in the space's order. Each dimension is a function of the unit interval
(`Dimension.at`), which is what grid and random points are drawn in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from switchyard.errors import InputError

Point = dict[str, Any]

KINDS = ("integer", "real", "categorical")


@dataclass(frozen=True)
class Dimension:
    """One parameter and where it may lie, both ends included.

    Raises:
        InputError: a range that is none, or a choice that is no string.
    """

    name: str
    kind: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    """Whether equal ratios are equally far apart."""
    step: float | None = None
    """A real dimension holds multiples of it alone; None for any number."""
    choices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(self.choices))
        if fault := self._fault():
            raise InputError(f"search space: dimension {self.name} {fault}")

    def at(self, unit: float) -> Any:
        """The value at a place of the unit interval; every integer or choice has an equal share of it.

        On a log scale an integer's share is that of the interval around it.
        """
        if self.kind == "categorical":
            return self.choices[min(int(unit * len(self.choices)), len(self.choices) - 1)]
        low, high = self._edges
        value = low * (high / low) ** unit if self.log else low + unit * (high - low)
        return self.nearest(value * (self.step or 1))

    def unit(self, value: Any) -> float:
        """A place of the unit interval that has this value: `at` of it is the value again, but for rounding."""
        if self.kind == "categorical":
            return (self.choices.index(value) + 0.5) / len(self.choices)
        low, high = self._edges
        number = value / (self.step or 1)
        return math.log(number / low) / math.log(high / low) if self.log else (number - low) / (high - low)

    def nearest(self, value: float) -> Any:
        """The value of the dimension next to a number; a choice is itself."""
        if self.kind == "categorical":
            return str(value)
        if self.kind == "real" and not self.step:
            return float(min(max(value, self.low), self.high))
        low, high = self.ends
        number = int(min(max(math.floor(value / (self.step or 1) + 0.5), low), high))
        return round(number * self.step, 10) if self.step else number

    @property
    def ends(self) -> tuple[float, float]:
        """Low and high in steps of the dimension: whole numbers for an integer and for a real one with a step."""
        return (
            (round(self.low / self.step), round(self.high / self.step))
            if self.step
            else (self.low, self.high)
        )

    @property
    def _edges(self) -> tuple[float, float]:
        """The ends with half a step around whole numbers, so that each has a share of its own."""
        low, high = self.ends
        return (low - 0.5, high + 0.5) if self.kind == "integer" or self.step else (low, high)

    def _fault(self) -> str | None:
        if self.kind not in KINDS:
            return f"has kind {self.kind!r}; use {', '.join(KINDS)}"
        if self.kind == "categorical":
            known = [one for one in self.choices if isinstance(one, str)]
            distinct = len(set(known)) == len(self.choices) > 1
            return (
                None if distinct else f"has choices {list(self.choices)}; give two or more different strings"
            )
        if self.choices:
            return f"is {self.kind} and has choices; give it low and high"
        return self._range_fault()

    def _range_fault(self) -> str | None:
        ends = (self.low, self.high)
        wanted = int if self.kind == "integer" else (int, float)
        if not all(
            isinstance(one, wanted) and not isinstance(one, bool) and math.isfinite(one) for one in ends
        ):
            return f"goes from {self.low} to {self.high}; give numbers, whole ones if it is integer"
        if not self.low < self.high:
            return f"goes from {self.low} to {self.high}; give a range, or leave the dimension out and set the value"
        if self.log and self.low <= 0:
            return f"is logarithmic and starts at {self.low}; start above 0"
        if self.step is not None and (self.kind == "integer" or not self.step > 0):
            return f"has step {self.step}; give a real dimension a step above 0"
        return None


@dataclass(frozen=True)
class Quantiles:
    """A setting that is searched as a quantile of values, each with a weight."""

    setting: str
    values: np.ndarray  # float64 [rows]
    weights: np.ndarray  # float64 [rows]

    def at(self, share: float) -> float:
        """The smallest value up to which at least `share` of the weight lies."""
        return float(np.quantile(self.values, share, weights=self.weights, method="inverted_cdf"))


@dataclass(frozen=True)
class Space:
    """Dimensions in their order, and which of them are quantiles of something.

    Raises:
        InputError: no dimension, or two of the same name.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    quantiles: Mapping[str, Quantiles] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.dimensions:
            raise InputError(f"search space {self.name}: has no dimension; leave one or more in")
        if len(set(self.names)) < len(self.names):
            raise InputError(f"search space {self.name}: names a dimension twice; name each once")

    @property
    def names(self) -> list[str]:
        """Of the dimensions."""
        return [one.name for one in self.dimensions]

    def at(self, units: Sequence[float]) -> Point:
        """The point at a place of the unit cube [dimensions]."""
        return {one.name: one.at(float(unit)) for one, unit in zip(self.dimensions, units, strict=True)}

    def units(self, point: Mapping[str, Any]) -> list[float]:
        """A place of the unit cube that has this point."""
        return [one.unit(point[one.name]) for one in self.dimensions]

    def settings(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a rule that a point stands for: quantiles become thresholds, all else stays."""
        found = {}
        for name in self.names:
            quantiles = self.quantiles.get(name)
            found[quantiles.setting if quantiles else name] = (
                quantiles.at(point[name]) if quantiles else point[name]
            )
        return found

    def with_dimensions(self, *dimensions: Dimension) -> Self:
        """The same space with dimensions added, or in the place of those of their name."""
        given = {one.name: one for one in dimensions}
        kept = tuple(given.pop(one.name, one) for one in self.dimensions)
        return replace(self, dimensions=(*kept, *given.values()))

    def without(self, name: str) -> Self:
        """The same space without a dimension."""
        return replace(self, dimensions=tuple(one for one in self.dimensions if one.name != name))
