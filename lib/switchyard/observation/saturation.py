"""Router saturation: how much of the final routing a checkpoint of the training has already."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from switchyard.errors import InputError
from switchyard.observation.counters import result_table


def saturation(experts_then: ArrayLike, experts_final: ArrayLike) -> float:
    """Mean share of a token's experts at the end of training that it used at a checkpoint too, 0..1.

    (1 / N) sum over tokens of |used then and at the end| / k (OLMoE, arXiv:2409.02060, section 5), the same tokens
    seen by both. The order of the experts does not matter; k = 1 compares the most probable ones alone.

    Args:
        experts_then: int [tokens, k], distinct experts of each token at the checkpoint.
        experts_final: int [tokens, k], those of the final model.

    Raises:
        InputError: other shapes, no tokens, an expert twice in a token.
    """
    then, final = (_distinct(np.asarray(experts)) for experts in (experts_then, experts_final))
    if then.shape != final.shape:
        raise InputError(
            f"saturation: experts have the shape {then.shape} before and {final.shape} at the end; give the same tokens"
        )
    both = np.concatenate([then, final], axis=1)
    both.sort(axis=1)
    return float(np.count_nonzero(both[:, 1:] == both[:, :-1]) / final.size)


def saturation_table(
    checkpoints: Mapping[int, ArrayLike],
    final: ArrayLike,
    *,
    num_experts: int,
    layers: ArrayLike | None = None,
) -> pa.Table:
    """Saturation of every checkpoint and layer, one row each, in the order of steps and layers.

    Args:
        checkpoints: training step -> int [layers, tokens, k], experts of each token, most probable first.
        final: int [layers, tokens, k], those of the final model for the same tokens.
        num_experts: experts of a layer.
        layers: the model's numbers of the layers; counted from 0 if not given.

    Returns:
        step, layer, tokens; `saturation` and `chance` = k / E, what experts chosen at random would have;
        `first_choice_saturation` and `first_choice_chance` = 1 / E, of the most probable expert alone

    Raises:
        InputError: shapes that differ, no tokens, experts out of range or twice in a token.
    """
    final = _in_range(final, num_experts)
    layers = np.arange(len(final)) if layers is None else np.asarray(layers)
    rows = []
    for step in sorted(checkpoints):
        experts = _in_range(checkpoints[step], num_experts)
        if experts.shape != final.shape:
            raise InputError(
                f"saturation: {experts.shape} experts at step {step}, {final.shape} at the end, give the same tokens"
            )
        for layer, then, last in zip(layers.tolist(), experts, final, strict=True):
            first = saturation(then[:, :1], last[:, :1])
            rows.append((step, layer, len(last), saturation(then, last), first))
    names = ("step", "layer", "tokens", "saturation", "first_choice_saturation")
    columns = dict(zip(names, np.array(rows).reshape(-1, len(names)).T))
    columns["chance"] = np.full(len(rows), final.shape[2] / num_experts)
    columns["first_choice_chance"] = np.full(len(rows), 1 / num_experts)
    return result_table(columns, shares=[*names[3:], "chance", "first_choice_chance"])


def _distinct(experts: np.ndarray) -> np.ndarray:
    """Experts [tokens, k], if there are any and none stands twice in a token."""
    if experts.ndim != 2 or not experts.size:
        raise InputError(
            f"saturation: experts have the shape {experts.shape}, give [tokens, k], at least one of each"
        )
    ascending = np.sort(experts, axis=1)
    if (ascending[:, 1:] == ascending[:, :-1]).any():
        raise InputError("saturation: a token names an expert twice, give distinct ones")
    return ascending


def _in_range(experts: ArrayLike, num_experts: int) -> np.ndarray:
    """Experts [layers, tokens, k], if each is one of 0..num_experts - 1."""
    experts = np.asarray(experts)
    if experts.ndim != 3 or not experts.size:
        raise InputError(
            f"saturation: experts have the shape {experts.shape}, give [layers, tokens, k], at least one of each"
        )
    if experts.min() < 0 or experts.max() >= num_experts:
        raise InputError(f"saturation: an expert is outside 0..{num_experts - 1}")
    return experts
