"""Static top-k with a fractional k: the control that any adaptive rule has to beat at its own mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow.compute as pc
import torch
from torch.nn.functional import pad

from switchyard.artifacts.files import read_table
from switchyard.errors import InputError
from switchyard.routing.draws import token_draws
from switchyard.routing.selection import Selection
from switchyard.routing.topk import TopK
from switchyard.routing.weighting import check_weighting

if TYPE_CHECKING:
    from torch import Tensor

    from switchyard.routing.selection import TokenContext


@dataclass(frozen=True)
class MixedTopK:
    """floor(k) + 1 experts with a probability equal to the fraction of `k`, else floor(k).

    A draw per layer and token decides (`switchyard.routing.draws`), and never its logits. Each token is routed as
    `TopK` of its number would, so that a whole k is TopK(k) bit for bit.
    `weighting`, `trained_top_k`, `normalise`: see `switchyard.routing.weighting.weigh`.

    Raises:
        InputError: `k` is negative or not finite, or `weighting` is unknown.
    """

    needs_context: ClassVar[bool] = True

    k: float
    weighting: str = "model"
    trained_top_k: int | None = None
    normalise: bool | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.k < math.inf:
            raise InputError(f"mixed_topk: k is {self.k}, it must be 0 or more")
        check_weighting(self.weighting)

    @property
    def limits(self) -> tuple[int, int]:
        """Fewest and most experts of a token."""
        return math.floor(self.k), math.ceil(self.k)

    @classmethod
    def from_study(cls, settings: Mapping[str, Any], files: Mapping[str, Any]) -> Self:
        """The rule of a configuration: its `k`, or the mean count in the traces of the one that it is `matched` to."""
        fields = dict(settings)
        if fields.pop("matched", None):
            fields["k"] = mean_count(files["matched"])
        return cls(**fields)

    def select(self, logits: Tensor, layer: int, context: TokenContext | None = None) -> Selection:
        """Choose as TopK does, one expert more for the tokens whose draw lies below the fraction of k.

        See `RoutingRule.select`.
        """
        fewest, most = self.limits
        more = self._static(most, logits, layer)
        if fewest == most:
            return more
        fewer = self._static(fewest, logits, layer)
        takes_more = token_draws(context, layer, rule="mixed_topk") < self.k - fewest
        row = takes_more.unsqueeze(-1)
        return Selection(
            torch.where(row, more.experts, pad(fewer.experts, (0, 1), value=logits.shape[-1])[:, :most]),
            torch.where(row, more.weights, pad(fewer.weights, (0, 1))[:, :most]),
            torch.where(takes_more, more.count, fewer.count),
        )

    def _static(self, k: int, logits: Tensor, layer: int) -> Selection:
        """The selection of TopK(k); for k = 0, which that has not, one empty slot."""
        if k == 0:
            empty = torch.full_like(logits[:, :1], logits.shape[-1], dtype=torch.int64)
            return Selection(
                empty, torch.zeros_like(empty, dtype=torch.float32), torch.zeros_like(empty[:, 0])
            )
        return TopK(k, self.weighting, self.trained_top_k, self.normalise).select(logits, layer)


def mean_count(traces: Sequence[str | Path]) -> float:
    """The mean number of experts over all rows of `traces`: integer sums, then one division.

    Raises:
        InputError: the traces have no row.
    """
    counts = [read_table(trace, columns=["count"])["count"] for trace in traces]
    rows = sum(map(len, counts))
    if not rows:
        raise InputError("mixed_topk: the matched traces have no row; evaluate their configuration again")
    return sum(pc.sum(count, min_count=0).as_py() for count in counts) / rows
