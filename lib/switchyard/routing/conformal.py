"""Adaptive routing by conformal p-values of each layer and expert (Bates, Candès, Lei, Romano and Sesia, 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch

from switchyard.errors import InputError
from switchyard.routing.adaptive import LevelRule
from switchyard.routing.logit_table import read_logits

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Conformal(LevelRule):
    """As many experts as a step-up at `alpha` rejects, each expert compared with its own calibration logits.

    An expert's p-value is (1 + #{its calibration logits of the layer >= its logit}) / (n + 1), n being the number of
    calibration tokens. max{k : p_(k) <= alpha k / E} of the E p-values is the number of experts. Which ones is not
    decided by the p-values: as under every adaptive rule they are those with the largest logits. The claim is that
    each p-value by itself is valid where its token is exchangeable with the calibration tokens, and not that any
    false discovery rate is controlled: a token's p-values depend on one another and share their calibration text.

    Raises:
        InputError: `calibration` is missing, unsorted or too short for alpha / E, or what `LevelRule` refuses.
    """

    name: ClassVar[str] = "conformal"

    calibration: Sequence[np.ndarray] | None = field(default=None, repr=False, compare=False)
    """Router logits of the calibration text by layer: float32 [num_experts, n], each row ascending."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.calibration is None:
            raise InputError(
                "conformal: calibration is missing; give sorted logits [num_experts, n] per layer"
            )
        layers = tuple(np.asarray(logits, dtype=np.float32) for logits in self.calibration)
        for layer, logits in enumerate(layers):
            self._check(layer, logits)
        object.__setattr__(self, "calibration", layers)

    def _check(self, layer: int, logits: np.ndarray) -> None:
        if logits.ndim != 2 or not (logits[:, :-1] <= logits[:, 1:]).all():
            raise InputError(
                f"conformal: calibration of layer {layer} must be [num_experts, n], each row ascending; sort it"
            )
        num_experts, n = logits.shape
        if n + 1 < num_experts / self.alpha:
            raise InputError(
                f"conformal: {n} calibration tokens in layer {layer} give no p-value of alpha / E for {num_experts} "
                f"experts at alpha {self.alpha}; n + 1 must be at least {num_experts / self.alpha:g}, "
                "give more calibration text"
            )

    @classmethod
    def from_study(cls, settings: Mapping[str, Any], files: Mapping[str, Any]) -> Self:
        """The rule of a configuration on the router logits of the study's calibration text."""
        columns = [np.ascontiguousarray(logits.T) for logits in read_logits(files["logits"])]
        for logits in columns:
            logits.sort(axis=-1)
        return cls(**settings, calibration=columns)

    def num_experts(self, logits: Tensor, ranked: Tensor, order: Tensor, layer: int) -> Tensor:
        """The largest k for which k experts have p-values of at most alpha k / E, int64 [tokens]; 0 where none is."""
        num_experts = logits.shape[-1]
        bars = self.keep(layer, logits, lambda: self._bars(layer, num_experts))
        values = logits.to(torch.promote_types(logits.dtype, torch.float32)).T.contiguous()
        bars_below = torch.searchsorted(bars.to(values.dtype), values)  # [num_experts, tokens]
        least_k = num_experts + 1 - bars_below.T  # [tokens, num_experts], where p <= alpha k / E begins
        ranks = torch.arange(1, num_experts + 1, device=logits.device)
        return ((least_k.sort(dim=-1).values <= ranks) * ranks).amax(dim=-1)

    def _bars(self, layer: int, num_experts: int) -> np.ndarray:
        """What an expert's logit must exceed for p <= alpha k / E, float32 [num_experts, k from E down to 1].

        Of the n + 1 p-values an expert can have, the first `allowed` are low enough, so fewer than that many
        calibration logits may reach its own: the one that is `allowed`-th from above must lie below it.
        """
        calibration = self.of_layer("calibration", layer)
        if len(calibration) != num_experts:
            raise InputError(
                f"conformal: layer {layer} has {num_experts} experts but its calibration {len(calibration)}: "
                "calibrate on this model"
            )
        n = calibration.shape[-1]
        level = self.alpha * np.arange(num_experts, 0, -1) / num_experts
        allowed = np.searchsorted(np.arange(1, n + 2) / (n + 1), level, side="right")
        edges = np.full((num_experts, 1), np.inf, dtype=np.float32)
        padded = np.concatenate([-edges, calibration, edges], axis=-1)
        return np.ascontiguousarray(padded[:, n + 1 - allowed])

    def p_values(self, logits: np.ndarray, layer: int) -> np.ndarray:
        """p-values of logits [tokens, num_experts], float64 in the same shape."""
        calibration = self.of_layer("calibration", layer)
        n = calibration.shape[-1]
        below = [np.searchsorted(row, column) for row, column in zip(calibration, logits.T, strict=True)]
        return (1 + n - np.stack(below, axis=-1)) / (n + 1)
