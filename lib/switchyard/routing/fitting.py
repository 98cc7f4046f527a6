"""Fit the nine null distributions of one layer's router logits.

Kernel estimates are sums of kernel CDFs over finely binned logits, so millions of logits cost one convolution and
no sampling. The Gaussian has Scott's bandwidth (Scott, 1992); the other kernels are stretched to the same standard
deviation, so that they differ in shape only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.signal import fftconvolve
from scipy.special import ndtr

from switchyard.errors import InputError
from switchyard.models.scores import Scores
from switchyard.routing.null_names import NULLS, left_out, trim
from switchyard.routing.nulls import NullDistribution

GRID_POINTS = 2000
"""Points of a stored CDF; half evenly spaced in the logit, half in equal ratios of 1 - F, where p-values decide."""
_TAIL_START = 0.5
"""1 - F at the first of the tail points; the last is at one logit in all."""
_LEAST_BINS, _MOST_BINS = 2**14, 2**20
_BINS_PER_BANDWIDTH = 16
"""Bins are this much narrower than the kernel: an error in F below 1e-4 / 12 of what the kernel itself smooths."""
_REACH = 6.0
"""Standard deviations by which the grid goes past the outermost logits: a Gaussian has 1e-9 of its mass beyond."""

_KERNELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gaussian": ndtr,
    "epanechnikov": lambda z: _epanechnikov(np.clip(z / np.sqrt(5.0), -1.0, 1.0)),
    "tophat": lambda z: (np.clip(z / np.sqrt(3.0), -1.0, 1.0) + 1.0) / 2.0,
    "linear": lambda z: _triangle(np.clip(z / np.sqrt(6.0), -1.0, 1.0)),
}
"""Kernel CDFs of standard deviation 1."""


def fit_nulls(logits: np.ndarray, top_k: int, scores: Scores | None = None) -> dict[str, NullDistribution]:
    """The nulls of one layer, by name in the order of `NULLS`, without those that `left_out` names.

    `logits` [tokens, num_experts] of real tokens; `top_k` is the model's trained one; `scores` says what the logits
    are, so that `unselected` drops the experts that a router with groups chooses. Deterministic.
    Raises InputError where logits are not finite, fewer than two, or all equal.
    """
    num_experts = logits.shape[-1]
    ranked = np.sort(np.asarray(logits, dtype=np.float64), axis=-1)  # ascending
    if not np.isfinite(ranked).all():
        raise InputError(
            "calibration: some router logits are not finite, check the model's weights and its dtype"
        )
    skipped = left_out(num_experts, top_k)
    chosen_last = ranked if scores is None or scores.groups is None else _chosen_last(logits, scores)
    parts = {"unselected": chosen_last}
    return {name: _fit(name, parts.get(name, ranked), top_k) for name in NULLS if name not in skipped}


def kernel_cdf(values: np.ndarray, kernel: str = "gaussian") -> tuple[np.ndarray, np.ndarray]:
    """The CDF of the kernel density estimate of `values` [...], on a fine even grid: (points, cdf), float64 [bins]."""
    values = np.ravel(values)
    bandwidth = _scott(values)
    low, high = values.min() - _REACH * bandwidth, values.max() + _REACH * bandwidth
    bins = _bin_count((high - low) / bandwidth)
    step = (high - low) / (bins - 1)
    mass = _linear_binning((values - low) / step, bins)
    offsets = np.arange(1 - bins, bins) * (step / bandwidth)
    cdf = fftconvolve(_KERNELS[kernel](offsets), mass, mode="valid")
    return low + step * np.arange(bins), np.maximum.accumulate(np.clip(cdf, 0.0, 1.0))


def _fit(name: str, ranked: np.ndarray, top_k: int) -> NullDistribution:
    if name == "empirical":
        return _empirical(np.sort(ranked, axis=None))
    points, cdf = kernel_cdf(_remaining(name, ranked, top_k), name if name in _KERNELS else "gaussian")
    first = np.interp(
        np.log(_tail_levels(ranked.size)), np.log(np.maximum(1.0 - cdf, 1e-300))[::-1], points[::-1]
    )
    grid = _grid(points[0], points[-1], first)
    return NullDistribution(grid, np.interp(grid, points, cdf))


def _remaining(name: str, ranked: np.ndarray, top_k: int) -> np.ndarray:
    """What a null is fitted to: `ranked` [tokens, num_experts] ascending, less what its name drops."""
    if name == "unselected":
        return ranked[:, :-top_k]
    if name.startswith("trimmed_"):
        half = trim(name) // 2
        return ranked[:, half:-half]
    return ranked


def _chosen_last(logits: np.ndarray, scores: Scores) -> np.ndarray:
    """Logits [tokens, num_experts] of each token with those of its trained top-k in the last places."""
    order = np.argsort(scores.eligible(logits), axis=-1)
    return np.take_along_axis(np.asarray(logits, np.float64), order, axis=-1)


def _empirical(ordered: np.ndarray) -> NullDistribution:
    """The step function (count <= x) / n at the grid points, linear between them."""
    _scott(ordered)
    tail = np.quantile(ordered, 1.0 - _tail_levels(ordered.size), method="inverted_cdf")
    grid = _grid(ordered[0], ordered[-1], tail)
    return NullDistribution(grid, np.searchsorted(ordered, grid, side="right") / ordered.size)


def _tail_levels(size: int) -> np.ndarray:
    return np.geomspace(_TAIL_START, 1.0 / size, GRID_POINTS // 2)


def _grid(low: float, high: float, tail: np.ndarray) -> np.ndarray:
    """GRID_POINTS strictly increasing logits: an even half, the tail's half, and halved gaps where some coincide."""
    grid = np.unique(np.concatenate([np.linspace(low, high, GRID_POINTS - tail.size), tail]))
    missing = GRID_POINTS - grid.size
    widest = np.sort(np.argsort(-np.diff(grid), kind="stable")[:missing])
    return np.insert(grid, widest + 1, (grid[widest] + grid[widest + 1]) / 2.0)


def _scott(values: np.ndarray) -> float:
    """Scott's bandwidth n^(-1/5) s, s with n - 1 in the denominator, as in scipy.stats.gaussian_kde."""
    if values.size < 2 or not np.ptp(values) > 0.0:
        raise InputError(
            f"calibration: {values.size} router logits that do not vary, give more calibration text"
        )
    return float(values.size ** (-1.0 / 5.0) * values.std(ddof=1))


def _bin_count(bandwidths: float) -> int:
    wanted = 2 ** int(np.ceil(np.log2(_BINS_PER_BANDWIDTH * bandwidths)))
    return min(max(wanted, _LEAST_BINS), _MOST_BINS)


def _linear_binning(place: np.ndarray, bins: int) -> np.ndarray:
    """Shares [bins] that sum to 1: each value is split between its two neighbours, which keeps the mean."""
    left = np.minimum(place.astype(np.int64), bins - 2)
    share = place - left
    mass = np.bincount(left, 1.0 - share, minlength=bins) + np.bincount(left + 1, share, minlength=bins)
    return mass / place.size


def _epanechnikov(u: np.ndarray) -> np.ndarray:
    return 0.5 + 0.75 * u - 0.25 * u**3


def _triangle(u: np.ndarray) -> np.ndarray:
    return np.where(u < 0.0, (1.0 + u) ** 2 / 2.0, 1.0 - (1.0 - u) ** 2 / 2.0)
