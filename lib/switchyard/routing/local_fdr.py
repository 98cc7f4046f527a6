"""Adaptive routing by the local false discovery rate of a router logit (Efron, Tibshirani, Storey and Tusher, 2001)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from switchyard.errors import InputError
from switchyard.routing.adaptive import LevelRule, checked_nulls
from switchyard.routing.nulls import NullDistribution, read_nulls

if TYPE_CHECKING:
    from torch import Tensor

BINS = 512
"""Intervals of equal probability under f: each holds enough of it that a quotient of masses is no quotient of noise."""
_LEAST_MASS = 1e-9
"""An interval with less, which only an F with jumps has, tells nothing."""


@dataclass(frozen=True)
class LocalFDR(LevelRule):
    """Every expert whose logit x has a local false discovery rate pi0 f0(x) / f(x) of at most `alpha`.

    f is the density of all router logits of the layer (`pooled`), f0 that of the logits outside each token's trained
    top-k (`unselected`), pi0 = (E - trained top-k) / E. The rate is made non-increasing in x, so that the rule is the
    comparison of a logit with one critical logit per layer. It is an estimate for a logit with the value x, so `alpha`
    bounds no tail-area false discovery rate, and 'null' means 'not among the trained top-k', nothing else.

    Raises:
        InputError: `unselected` or `pooled` is missing or holds something else, or what `LevelRule` refuses.
    """

    name: ClassVar[str] = "local_fdr"

    unselected: Sequence[NullDistribution] | None = field(default=None, repr=False)
    pooled: Sequence[NullDistribution] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("unselected", "pooled"):
            object.__setattr__(self, name, checked_nulls(self.name, name, getattr(self, name)))

    @classmethod
    def from_study(cls, settings: Mapping[str, Any], files: Mapping[str, Any]) -> Self:
        """The rule of a configuration with the two densities from the study's nulls."""
        densities = {name: read_nulls(files["nulls"], name) for name in ("unselected", "pooled")}
        return cls(**settings, **densities)

    def num_experts(self, logits: Tensor, ranked: Tensor, order: Tensor, layer: int) -> Tensor:
        """How many logits reach the critical one, int64 [tokens]."""
        critical = self.keep(layer, logits, lambda: np.array([self._critical(layer, logits.shape[-1])]))
        return (logits >= critical).sum(dim=-1)  # float64, one-dimensional: the comparison is exact

    def _critical(self, layer: int, num_experts: int) -> float:
        if self.trained_top_k is None:
            raise InputError(
                "local_fdr: needs the model's trained top-k: attach the rule or pass trained_top_k"
            )
        rates = local_fdr(
            self.of_layer("unselected", layer),
            self.of_layer("pooled", layer),
            (num_experts - self.trained_top_k) / num_experts,
        )
        return critical_logit(*rates, self.alpha)


def local_fdr(
    unselected: NullDistribution, pooled: NullDistribution, null_share: float
) -> tuple[np.ndarray, np.ndarray]:
    """The local false discovery rate as (logits, rates), both float64 [points], the rates non-increasing.

    The real line is cut at the quantiles 1/BINS, 2/BINS, ... of the pooled F. In each interval the rate is
    `null_share` times the quotient of its two masses, the densities' own quotient averaged over the interval, at most
    1, and at most the rate of the interval before; it stands at the median of the interval under F. Masses of
    1/BINS need no derivative, which the grids, dense in the tail, would make a quotient of rounding errors.
    """
    inner = np.unique(_quantile(pooled, np.arange(1, BINS) / BINS))
    at_edges = np.concatenate([[0.0], pooled.cdf_at(inner), [1.0]])
    mass = np.diff(at_edges)
    null_mass = np.diff(np.concatenate([[0.0], unselected.cdf_at(inner), [1.0]]))
    filled = mass > _LEAST_MASS
    rates = np.minimum(null_share * null_mass[filled] / mass[filled], 1.0)
    middle = _quantile(pooled, (at_edges[:-1] + at_edges[1:])[filled] / 2.0)
    return middle, np.minimum.accumulate(rates)


def critical_logit(logits: np.ndarray, rates: np.ndarray, alpha: float) -> float:
    """The least logit whose rate is at most `alpha`: minus infinity where all are, infinity where none is.

    `logits` and `rates`, float64 [points], are those of `local_fdr`; rates are linear between the points and constant
    beyond them.
    """
    first = int(np.searchsorted(-rates, -alpha))  # the first point whose rate is at most alpha
    if first == 0:
        return -np.inf
    if first == len(rates):
        return np.inf
    share = (rates[first - 1] - alpha) / (rates[first - 1] - rates[first])
    return float(logits[first - 1] + share * (logits[first] - logits[first - 1]))


def _quantile(null: NullDistribution, level: np.ndarray) -> np.ndarray:
    """The least logit at which F reaches each level, within the range of the grid."""
    logit = np.concatenate([null.logit[:1], null.logit, null.logit[-1:]])
    cdf = np.concatenate([[-1.0], null.cdf, [2.0]])
    right = np.searchsorted(cdf, level)
    share = (level - cdf[right - 1]) / (cdf[right] - cdf[right - 1])
    return logit[right - 1] + share * (logit[right] - logit[right - 1])
