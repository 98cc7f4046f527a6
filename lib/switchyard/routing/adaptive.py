"""What the rules that count have in common: how many experts a token gets is theirs to say, all else is here.

A new rule derives from `AdaptiveRule`, adds the fields that it needs, and says in `num_experts` how many experts each
token should have. `LevelRule` adds a level `alpha`, `NullRule` a null distribution per layer; a rule may be both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch

from switchyard.errors import InputError
from switchyard.routing.nulls import NullDistribution, p_values, read_nulls
from switchyard.routing.ranking import rank
from switchyard.routing.selection import Selection
from switchyard.routing.weighting import check_weighting, router_probabilities, weigh

if TYPE_CHECKING:
    from torch import Tensor

    from switchyard.routing.selection import TokenContext

DEFAULT_NULL = "pooled"
"""The null of a configuration that names none."""


@dataclass(frozen=True)
class AdaptiveRule:
    """The clamp(n, min_k, max_k) experts with the largest logits, n being what the rule answers in `num_experts`.

    Ties go to the lower index. `weighting`, `trained_top_k`, `normalise`: see `switchyard.routing.weighting.weigh`.

    Raises:
        InputError: `weighting` is unknown, or `min_k` and `max_k` break 0 <= min_k <= max_k, 1 <= max_k.
    """

    needs_context: ClassVar[bool] = False
    name: ClassVar[str]
    """What the rule is called in messages."""
    tests: ClassVar[bool] = True
    """Whether `num_experts` counts rejected hypotheses, which the selection then reports."""

    max_k: int
    min_k: int = 1
    weighting: str = field(default="model", kw_only=True)
    trained_top_k: int | None = field(default=None, kw_only=True)
    normalise: bool | None = field(default=None, kw_only=True)
    _kept: dict[tuple, Tensor] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        check_weighting(self.weighting)
        if not 0 <= self.min_k <= self.max_k or self.max_k < 1:
            raise InputError(
                f"{self.name}: min_k {self.min_k} and max_k {self.max_k} must satisfy "
                "0 <= min_k <= max_k, 1 <= max_k"
            )

    @property
    def limits(self) -> tuple[int, int]:
        """Fewest and most experts of a token."""
        return self.min_k, self.max_k

    def num_experts(self, logits: Tensor, ranked: Tensor, order: Tensor, layer: int) -> Tensor:
        """How many experts each token should have, before clamping: int64 [tokens].

        `logits` [tokens, num_experts]; `ranked` are the same from the largest down, `order` the experts they belong to.
        """
        raise NotImplementedError

    def select(self, logits: Tensor, layer: int, context: TokenContext | None = None) -> Selection:
        """Choose the largest logits of each token, as many as `num_experts` says within the limits.

        See `RoutingRule.select`.

        Raises:
            InputError: `max_k` is larger than the layer's number of experts.
        """
        if self.max_k > logits.shape[-1]:
            raise InputError(
                f"{self.name}: max_k is {self.max_k} but layer {layer} has {logits.shape[-1]} experts, lower max_k"
            )
        ranked, order = rank(logits)
        number = self.num_experts(logits, ranked, order, layer)
        return select_first(self, logits, order, number, number if self.tests else None)

    def of_layer(self, field_name: str, layer: int) -> Any:
        """What the field `field_name`, a sequence over the layers, holds for `layer`.

        Raises:
            InputError: the field has no value for the layer.
        """
        values = getattr(self, field_name)
        if layer >= len(values):
            raise InputError(
                f"{self.name}: no {field_name} for layer {layer}, `{field_name}` has {len(values)}: "
                "calibrate on this model"
            )
        return values[layer]

    def filled_in(self, **fields: Any) -> Self:
        """The rule with some of `trained_top_k, normalise` set; what it has kept does not depend on them and stays."""
        other = dataclasses.replace(self, **fields)
        object.__setattr__(other, "_kept", self._kept)
        return other

    def keep(self, layer: int, logits: Tensor, make: Callable[[], np.ndarray]) -> Tensor:
        """The array [...] that `make` gives, on the device of `logits` [tokens, num_experts].

        It is made once per layer, number of experts, dtype and device.

        Raises:
            InputError: the first call comes while the model is being compiled.
        """
        key = (layer, logits.shape[-1], logits.dtype, logits.device)
        if key not in self._kept:
            if torch.compiler.is_compiling():
                raise InputError(f"{self.name}: run the attached model once before it is compiled")
            self._kept[key] = torch.from_numpy(make()).to(logits.device)
        return self._kept[key]


@dataclass(frozen=True)
class _Level:
    """Its one field comes before those of `AdaptiveRule`, as in `BenjaminiHochberg(alpha, max_k, ...)`."""

    alpha: float


@dataclass(frozen=True)
class LevelRule(AdaptiveRule, _Level):
    """An adaptive rule with a level `alpha` between 0 and 1, its first field.

    Raises:
        InputError: `alpha` is not between 0 and 1, or what `AdaptiveRule` refuses.
    """

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha < 1.0:
            raise InputError(
                f"{self.name}: alpha is {self.alpha}, it must lie between 0 and 1 (0.30, not 30)"
            )
        super().__post_init__()


@dataclass(frozen=True)
class NullRule(AdaptiveRule):
    """An adaptive rule whose p-values are 1 - F(logit) under the layer's null F (`null[layer]`).

    Raises:
        InputError: `null` is missing or holds something else, or what `AdaptiveRule` refuses.
    """

    null: Sequence[NullDistribution] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "null", checked_nulls(self.name, "null", self.null))

    @classmethod
    def from_study(cls, settings: Mapping[str, Any], files: Mapping[str, Any]) -> Self:
        """The rule of a configuration: its `null_distribution`, pooled by default, is read from the nulls."""
        fields = dict(settings)
        null = fields.pop("null_distribution", DEFAULT_NULL)
        return cls(**fields, null=read_nulls(files["nulls"], null))

    def p_values(self, logits: np.ndarray, layer: int) -> np.ndarray:
        """p-values of logits [tokens, num_experts], float64 in the same shape."""
        return p_values(logits, self.of_layer("null", layer))


def checked_nulls(rule: str, field_name: str, values: Any) -> tuple[NullDistribution, ...]:
    """`values` as a tuple; InputError where they are not one NullDistribution per layer."""
    if values is None:
        raise InputError(f"{rule}: {field_name} is missing; give one NullDistribution per layer (read_nulls)")
    if not all(hasattr(value, "critical_logits") for value in values):
        raise InputError(f"{rule}: {field_name} must be a sequence of NullDistribution, one per layer")
    return tuple(values)


def select_first(
    rule: Any, logits: Tensor, order: Tensor, number: Tensor, rejections: Tensor | None = None
) -> Selection:
    """The first clamp(number, *rule.limits) experts of each row of `order` [tokens, num_experts].

    `rule` gives the limits and how to weigh. There is one slot at least, empty where the most is no expert at all.
    """
    fewest, most = rule.limits
    count = number.clamp(fewest, most)
    first = order[:, : max(most, 1)]
    unused = torch.arange(first.shape[-1], device=logits.device) >= count.unsqueeze(-1)
    weights = weigh(
        router_probabilities(logits).gather(-1, first).masked_fill(unused, 0.0),
        logits,
        weighting=rule.weighting,
        trained_top_k=rule.trained_top_k,
        normalise=rule.normalise,
    )
    return Selection(first.masked_fill(unused, logits.shape[-1]), weights, count, rejections)
