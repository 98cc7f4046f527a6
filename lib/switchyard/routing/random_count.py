"""As many experts as chance says: the control that keeps a rule's distribution of counts and drops its reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import torch

from switchyard.artifacts.files import read_table
from switchyard.errors import InputError
from switchyard.routing.adaptive import select_first
from switchyard.routing.draws import token_draws
from switchyard.routing.ranking import rank
from switchyard.routing.selection import Selection
from switchyard.routing.weighting import check_weighting

if TYPE_CHECKING:
    from torch import Tensor

    from switchyard.routing.selection import TokenContext


@dataclass(frozen=True)
class RandomCount:
    """Each token's number of experts drawn from the layer's distribution of counts; experts by largest logit.

    A token gets c experts in layer l with probability `counts[l][c] / sum(counts[l])`, by a draw per layer and token
    (`switchyard.routing.draws`); ties go to the lower index.
    `weighting`, `trained_top_k`, `normalise`: see `switchyard.routing.weighting.weigh`.

    Raises:
        InputError: `counts` are missing, not whole, negative or all 0, or `weighting` is unknown.
    """

    needs_context: ClassVar[bool] = True

    counts: tuple[tuple[int, ...], ...]
    """By layer, then by number of experts from 0: how often; whole numbers."""
    weighting: str = "model"
    trained_top_k: int | None = None
    normalise: bool | None = None

    def __post_init__(self) -> None:
        check_weighting(self.weighting)
        layers = tuple(tuple(weights) for weights in self.counts)
        for layer, weights in enumerate(layers):
            if not all(weight == int(weight) and weight >= 0 for weight in weights) or not any(weights):
                raise InputError(
                    f"random_count: counts of layer {layer} must be whole numbers, none negative and not all 0"
                )
        if not layers:
            raise InputError("random_count: counts are missing; give how often each count occurs, per layer")
        object.__setattr__(self, "counts", tuple(tuple(int(weight) for weight in one) for one in layers))

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest number with a weight in any layer."""
        drawn = [number for weights in self.counts for number, weight in enumerate(weights) if weight]
        return min(drawn), max(drawn)

    @classmethod
    def from_study(cls, settings: Mapping[str, Any], files: Mapping[str, Any]) -> Self:
        """The rule of a configuration: the counts in the traces of the one that it is `matched` to."""
        fields = {key: value for key, value in settings.items() if key != "matched"}
        return cls(**fields, counts=read_counts(files["matched"]))

    def select(self, logits: Tensor, layer: int, context: TokenContext | None = None) -> Selection:
        """Choose the largest logits of each token, as many as it draws. See `RoutingRule.select`.

        Raises:
            InputError: the layer has no counts, or fewer experts than they go to.
        """
        self._check(layer, logits.shape[-1])
        draws = token_draws(context, layer, rule="random_count")
        weights = np.array(self.counts[layer])
        shares = torch.from_numpy(weights.cumsum() / weights.sum()).to(logits.device)
        number = torch.searchsorted(shares, draws, right=True)  # the first count whose share exceeds the draw
        return select_first(self, logits, rank(logits)[1], number)

    def _check(self, layer: int, num_experts: int) -> None:
        if layer >= len(self.counts):
            raise InputError(f"random_count: no counts for layer {layer}, `counts` has {len(self.counts)}")
        most = self.limits[1]
        if most > num_experts:
            raise InputError(
                f"random_count: counts go to {most} but layer {layer} has {num_experts} experts, "
                "take them from this model"
            )


def read_counts(traces: Sequence[str | Path]) -> tuple[tuple[int, ...], ...]:
    """How often each number of experts, from 0, occurs in each layer, over all rows of `traces`.

    Raises:
        InputError: the traces have no row.
    """
    rows = pa.concat_tables(read_table(trace, columns=["layer", "count"]) for trace in traces)
    if not len(rows):
        raise InputError("random_count: the matched traces have no row; evaluate their configuration again")
    found = rows.group_by(["layer", "count"]).aggregate([([], "count_all")])
    layer, count, times = (found[name].to_numpy() for name in ("layer", "count", "count_all"))
    table = np.zeros((layer.max() + 1, count.max() + 1), np.int64)
    table[layer, count] = times
    return tuple(map(tuple, table.tolist()))
