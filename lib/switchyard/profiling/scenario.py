"""What a prediction is asked for: a forward, a model's sizes, what the rule does, and a machine's ceilings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from switchyard.errors import InputError
from switchyard.profiling.counts import Counts, Routing, expected_distinct, forward_counts
from switchyard.profiling.points import PHASES, Point, decode, prefill

SIZES = ("num_experts", "top_k", "hidden_size", "intermediate_size", "vocab_size")
"""Sizes of a model that a scenario may change."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A forward of `batch` sequences under a rule; what is None is as it was measured.

    `length` is the new tokens of a sequence in a prefill, `cache_length` what a decoded token attends to.
    `experts` are those that the rule uses for a token, on average; `hit_rate` the share of tokens whose routes are
    looked up, so that no router runs for them; `looked_up_experts` what such a token uses.

    Raises InputError for another phase, a size that is not above 0, or a hit rate that is no share.
    """

    phase: str
    batch: int
    length: int = 1
    cache_length: int = 0
    num_experts: int | None = None
    top_k: float | None = None
    hidden_size: int | None = None
    intermediate_size: int | None = None
    vocab_size: int | None = None
    experts: float | None = None
    hit_rate: float | None = None
    looked_up_experts: float | None = None
    gflops: float | None = None
    gbytes: float | None = None

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise InputError(f"predict: phase {self.phase!r}; give one of {', '.join(PHASES)}")
        for name in ("batch", "length", *SIZES, "gflops", "gbytes"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise InputError(f"predict: {name} is {value}; give a number above 0")
        if self.hit_rate is not None and not 0 <= self.hit_rate <= 1:
            raise InputError(f"predict: hit_rate is {self.hit_rate}; give a share, 0 to 1")

    @property
    def point(self) -> Point:
        """The forward."""
        if self.phase == PHASES[0]:
            return prefill(self.batch, self.length)
        return decode(self.batch, self.cache_length)

    def structure(self, measured: Mapping[str, Any]) -> dict[str, Any]:
        """The measured model's structure with the scenario's sizes; another width has more heads of the same size."""
        given = {name: getattr(self, name) for name in SIZES if getattr(self, name) is not None}
        wider = given.get("hidden_size", measured["hidden_size"]) / measured["hidden_size"]
        heads = {name: measured[name] * wider for name in ("num_heads", "num_key_value_heads")}
        return {**measured, **heads, **given}


def counts_of(
    scenario: Scenario, measured: Mapping[str, Any], *, experts: float, learned: float, weight_bytes: int
) -> Counts:
    """Counts of a scenario's forward, its distinct experts those of uniform choices.

    Args:
        measured: structure of the model that was measured.
        experts: of a token, on average.
        learned: share of the rows whose router runs.
        weight_bytes: of the model that was measured.
    """
    structure, point = scenario.structure(measured), scenario.point
    distinct = expected_distinct(structure["num_experts"], experts, point.tokens)
    return forward_counts(structure, point, Routing(experts, distinct, learned), weight_bytes=weight_bytes)
