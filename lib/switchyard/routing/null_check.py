"""Is a null right? Its p-values on text that it was not fitted on, and what BH would reject there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from switchyard.models.scores import Scores
from switchyard.routing.nulls import NullDistribution, p_values

BINS = 20
"""Bins of the p-value histogram over 0..1."""

LEVELS = (0.05, 0.10, 0.20, 0.30, 0.40, 0.50, 0.60)
"""Alphas of the published summary: fixed, so that another alpha in a study leaves its calibration alone."""


def kolmogorov_distance(values: np.ndarray) -> float:
    """Largest distance between the empirical distribution of p-values [...] and the uniform one, 0..1."""
    return _distance(np.sort(values, axis=None))


def _distance(ascending: np.ndarray) -> float:
    steps = np.arange(ascending.size + 1) / ascending.size
    return float(max((steps[1:] - ascending).max(), (ascending - steps[:-1]).max()))


def histograms(logits: Iterable[np.ndarray], nulls: Mapping[str, list[NullDistribution]]) -> pa.Table:
    """Shares of p-values in `BINS` equal bins: null, layer, bin_left, bin_right, share.

    Args:
        logits: float32 [tokens, num_experts], layer by layer.
        nulls: name -> the null of every layer.
    """
    edges = np.linspace(0.0, 1.0, BINS + 1)
    rows = []
    for layer, values in enumerate(logits):
        for name, of_layers in nulls.items():
            shares = np.histogram(p_values(values, of_layers[layer]), edges)[0] / values.size
            for left, right, share in zip(edges[:-1], edges[1:], shares):
                rows.append(
                    {"null": name, "layer": layer, "bin_left": left, "bin_right": right, "share": share}
                )
    return pa.Table.from_pylist(rows)


def summary(
    logits: Iterable[np.ndarray],
    nulls: Mapping[str, list[NullDistribution]],
    alphas: Iterable[float],
    *,
    top_k: int,
    scores: Scores | None = None,
) -> pa.Table:
    """Uniformity of each null, and what BH would reject at each level before any clamping.

    Args:
        logits: float32 [tokens, num_experts], layer by layer.
        nulls: name -> the null of every layer.
        alphas: the levels.
        top_k: experts per token that the model was trained with.
        scores: what the logits are; experts outside a token's best groups are never rejected.

    Returns:
        null, layer, alpha; `kolmogorov_distance` of the p-values from uniform ones; `no_rejection_share`, the share
        of tokens with no rejection, and `expected_no_rejection`, what it is with p-values uniform under the null and
        independent, 1 - alpha (Simes, 1986); `mean_rejections`; `floor_share`, at most one rejection, so that a
        floor of one decides; `cap_share`, at least `top_k` rejections, so that a cap there decides
    """
    rows = []
    levels = tuple(alphas)
    for layer, values in enumerate(logits):
        seen = values if scores is None else scores.eligible(values)
        ranked = np.sort(seen, axis=1)[:, ::-1]
        ascending_p = np.sort(values, axis=None)[::-1]
        for name, of_layers in nulls.items():
            null = of_layers[layer]
            distance = _distance(p_values(ascending_p, null))
            for alpha in levels:
                found = _rejections(ranked, null, alpha)
                rows.append(
                    {
                        "null": name,
                        "layer": layer,
                        "alpha": alpha,
                        "kolmogorov_distance": distance,
                        "no_rejection_share": float((found == 0).mean()),
                        "expected_no_rejection": 1 - alpha,
                        "mean_rejections": float(found.mean()),
                        "floor_share": float((found <= 1).mean()),
                        "cap_share": float((found >= top_k).mean()),
                    }
                )
    return pa.Table.from_pylist(rows)


def _rejections(ranked: np.ndarray, null: NullDistribution, alpha: float) -> np.ndarray:
    """Rejections of BH per token, int64 [tokens]; `ranked`: logits [tokens, num_experts], largest first."""
    num_experts = ranked.shape[1]
    rejected = ranked >= null.critical_logits(alpha, num_experts, dtype=ranked.dtype.type)
    last = num_experts - rejected[:, ::-1].argmax(axis=1)
    return np.where(rejected.any(axis=1), last, 0)
