"""Is a null right? Its p-values on text that it was not fitted on, and what BH would reject there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import torch

from switchyard.routing.bh import BenjaminiHochberg
from switchyard.routing.nulls import NullDistribution, p_values

BINS = 20
"""Bins of the p-value histogram over 0..1."""

LEVELS = (0.05, 0.10, 0.20, 0.30, 0.40, 0.50, 0.60)
"""Alphas of the published summary: fixed, so that another alpha in a study leaves its calibration alone."""


def kolmogorov_distance(values: np.ndarray) -> float:
    """Largest distance between the empirical distribution of p-values and the uniform one, 0..1."""
    ordered = np.sort(values, axis=None)
    steps = np.arange(ordered.size + 1) / ordered.size
    return float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))


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
    logits: Iterable[np.ndarray], nulls: Mapping[str, list[NullDistribution]], alphas: Iterable[float]
) -> pa.Table:
    """Uniformity of each null, and at each level the share of tokens without a rejection and the mean rejections.

    With p-values uniform under the null and independent, the share without a rejection is 1 - alpha (Simes).

    Returns:
        null, layer, alpha, kolmogorov_distance, no_rejection_share, mean_rejections
    """
    rows = []
    for layer, values in enumerate(logits):
        tensor = torch.from_numpy(np.array(values))
        for name, of_layers in nulls.items():
            distance = kolmogorov_distance(p_values(values, of_layers[layer]))
            for alpha in alphas:
                rule = BenjaminiHochberg(
                    alpha,
                    values.shape[1],
                    min_k=0,
                    null=of_layers,
                    trained_top_k=values.shape[1],
                    normalise=False,
                )
                rejections = rule.select(tensor, layer).rejections
                rows.append(
                    {
                        "null": name,
                        "layer": layer,
                        "alpha": alpha,
                        "kolmogorov_distance": distance,
                        "no_rejection_share": float((rejections == 0).double().mean()),
                        "mean_rejections": float(rejections.double().mean()),
                    }
                )
    return pa.Table.from_pylist(rows)
