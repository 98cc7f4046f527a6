"""A configuration on a text that it was not chosen on: how much is lost and gained, with an interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from switchyard.search.evaluator import perplexity
from switchyard.search.setup import Ready
from switchyard.var.comparison import FAIL, PASS


@dataclass(frozen=True)
class Validated:
    """A VAR configuration against the untouched model on the samples of a text."""

    samples: int
    perplexity_untouched: float
    perplexity: float
    degradation: float
    """Perplexity over that of the untouched model, - 1."""
    degradation_interval: list[float | None]
    """95 %, symmetric bootstrap-t over samples; None where too few samples differ."""
    p: float | None
    """Two-sided, of the loss being the same; None where no sample differs."""
    max_quality_degradation: float
    within_limit: str
    """PASS where the degradation itself is at most the limit."""
    surely_within_limit: bool | None
    """Whether the whole interval is."""
    speed: float
    """Times the untouched model's, as the search counts it."""
    acting_share: float
    shares: dict[str, float]
    """Of the tokens of all MoE blocks, by path."""

    def as_json(self) -> dict[str, Any]:
        """By name."""
        return asdict(self)


def validate(ready: Ready, config: Mapping[str, Any]) -> Validated:
    """Run fields of a VARConfig on a search's samples, which should not be those that they were chosen on.

    Raises:
        NotANumber: the model computes no numbers under them.
    """
    settings = {name: value for name, value in config.items() if name != "routing_stats_path"}
    evaluator = ready.evaluator
    found = evaluator.evaluate(ready.candidates("var"), settings)
    test = evaluator.loss_test(found.run)
    changed = bool((found.run.loss != evaluator.untouched.loss).any())
    baseline, limit = perplexity(evaluator.untouched), evaluator.max_quality_degradation
    degradation = found.perplexity / baseline - 1
    interval = [None if bound is None else math.expm1(bound) for bound in (test.low, test.high)]
    return Validated(
        samples=len(found.run.loss),
        perplexity_untouched=baseline,
        perplexity=found.perplexity,
        degradation=degradation,
        degradation_interval=interval if changed else [0.0, 0.0],
        p=test.p if changed else None,
        max_quality_degradation=limit,
        within_limit=PASS if degradation <= limit else FAIL,
        surely_within_limit=_surely(interval[1], limit) if changed else True,
        speed=found.speed,
        acting_share=found.use.acting_share,
        shares=found.run.shares,
    )


def _surely(high: float | None, limit: float) -> bool | None:
    return None if high is None else high <= limit
