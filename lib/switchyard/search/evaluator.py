"""Points become outcomes: quality and speed under a rule against the untouched model, on the same samples."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from switchyard.errors import InputError, NotANumber
from switchyard.models.costs import flops_per_token
from switchyard.search.candidates import Candidates, Subject
from switchyard.search.objective import Objective, Outcome
from switchyard.statistics.paired import RatioTest, ratio_tests
from switchyard.var.runs import Run, Use, confidences_into

SPEEDUPS = ("cost", "measured")
"""`cost`: matrix products of a token, untouched over under the rule; exact and the same at each run.

`measured`: seconds of the untouched model over those of the rule in the same round, the median over the rounds. Both
run the model's own experts there where no slot is empty.
"""


@dataclass(frozen=True)
class Speed:
    """How a speed-up is had.

    Raises:
        InputError: no such kind, or no round.
    """

    kind: str = "cost"
    """One of SPEEDUPS."""
    rounds: int = 3
    """Of `measured`, each a run of the untouched model and one of the rule, in turns."""

    def __post_init__(self) -> None:
        if self.kind not in SPEEDUPS or self.rounds < 1:
            raise InputError(
                f"search: speed-up {self.kind!r} of {self.rounds} rounds; use {' or '.join(SPEEDUPS)}, "
                "and 1 round or more"
            )


class Evaluation(NamedTuple):
    """What a rule does on the samples."""

    perplexity: float
    speed: float
    use: Use
    run: Run


@dataclass
class Evaluator:
    """Judges settings by the objective; points that are known to decide alike are computed once."""

    subject: Subject
    max_quality_degradation: float
    speed: Speed = field(default_factory=Speed)

    def __post_init__(self) -> None:
        """Run the untouched model."""
        confidences: list[np.ndarray] = []
        self.untouched = self.subject.run(None, observer=confidences_into(confidences))
        self.highest_confidence = float(np.concatenate(confidences).max())
        self.objective = Objective(perplexity(self.untouched), self.max_quality_degradation)
        self.known: dict[str, Outcome] = {}
        """Outcomes by decisions; those of earlier files may be added."""

    def outcome(self, candidates: Candidates, settings: Mapping[str, Any]) -> tuple[str, Outcome]:
        """Decisions and outcome of some settings; a model that computes no numbers under them has failed."""
        decisions = candidates.decisions(settings)
        if decisions not in self.known:
            self.known[decisions] = self._outcome(candidates, settings)
        return decisions, self.known[decisions]

    def evaluate(self, candidates: Candidates, settings: Mapping[str, Any]) -> Evaluation:
        """Run settings, whatever is known of them.

        Raises:
            NotANumber: logits or log-likelihoods under them are no numbers.
        """
        run, use = candidates.run(settings, own_when_full=False)
        speed = self.cost(use) if self.speed.kind == "cost" else self._measured(candidates.rule(settings))
        return Evaluation(perplexity(run), speed, use, run)

    def cost(self, use: Use) -> float:
        """Matrix products of a token, untouched over under a rule."""
        structure = self.subject.structure
        untouched = flops_per_token(structure, structure["top_k"])
        return untouched / flops_per_token(structure, use.mean_experts, use.router_share)

    def loss_test(self, run: Run) -> RatioTest:
        """Nats per target token above the untouched model, paired by sample."""
        return ratio_tests([(run.loss - self.untouched.loss, run.tokens)])[0]

    def _outcome(self, candidates: Candidates, settings: Mapping[str, Any]) -> Outcome:
        try:
            found = self.evaluate(candidates, settings)
        except NotANumber as error:
            return Outcome(failed=str(error))
        return self.objective.outcome(found.perplexity, found.speed, found.use.acting_share)

    def _measured(self, rule: Any) -> float:
        ratios = []
        for number in range(self.speed.rounds):
            turns = (None, rule) if number % 2 else (rule, None)
            seconds = {one is None: self._seconds(one) for one in turns}
            ratios.append(seconds[True] / seconds[False] if rule is not None else 1.0)
        return float(np.median(ratios))

    def _seconds(self, rule: Any) -> float:
        """Of one run, scores brought to the host included."""
        start = time.perf_counter()
        self.subject.run(rule, own_when_full=True)
        return time.perf_counter() - start


def perplexity(run: Run) -> float:
    """Of all target tokens; infinite where it is too large for a number."""
    with np.errstate(over="ignore"):
        return float(np.exp(run.loss.sum() / run.tokens.sum()))
