"""What a point's settings stand for: a rule, what it decides, and what a run of it uses of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from switchyard.evaluation.sequences import Sample, all_sequences
from switchyard.search.decisions import NEVER, VARDecisions
from switchyard.study.experiment import build_rule
from switchyard.var.config import VARConfig
from switchyard.var.router import VARRouter
from switchyard.var.runs import Run, Use, looked_up_use, run_rule
from switchyard.var.table import RoutingTable


@dataclass(frozen=True)
class Subject:
    """What every point is run on."""

    model: torch.nn.Module
    """A Hugging Face MoE model in evaluation mode."""
    tokenizer: Any
    structure: Mapping[str, Any]
    kind: str
    """perplexity, cloze or choice."""
    samples: list[Sample]
    batch_tokens: int
    """Most tokens of a batch, padding included."""

    def run(self, rule: Any, **options: Any) -> Run:
        """`run_rule` on the samples."""
        given = (self.model, self.tokenizer, self.kind, self.samples, self.batch_tokens)
        return run_rule(*given, rule, **options)

    def token_ids(self) -> np.ndarray:
        """Those that are fed, int64 [tokens]."""
        return np.concatenate([one.input_ids for one in all_sequences(self.samples)])


class Candidates(Protocol):
    """The rules of a space."""

    def rule(self, settings: Mapping[str, Any]) -> Any:
        """The rule of a point's settings."""

    def decisions(self, settings: Mapping[str, Any]) -> str:
        """Equal for settings that are known to decide alike on the samples."""

    def run(self, settings: Mapping[str, Any], *, own_when_full: bool) -> tuple[Run, Use]:
        """Run the rule once over the samples."""


@dataclass(frozen=True)
class VARCandidates:
    """VAR with a table; settings are fields of a VARConfig, those left out have their defaults."""

    subject: Subject
    table: RoutingTable
    known: VARDecisions
    tokens_per_second: float

    @classmethod
    def of(
        cls, subject: Subject, table: RoutingTable, highest_confidence: float, tokens_per_second: float
    ) -> VARCandidates:
        """`highest_confidence`: the largest router probability of the untouched model on the samples."""
        ids = subject.token_ids()
        rows = table.on(torch.device("cpu"))
        held = np.unique(ids[ids < table.token_ids])
        known = VARDecisions(
            frequency=rows.frequency[:-1, held].numpy().ravel(),
            mean_entropy=rows.mean_entropy[:-1, held].numpy().ravel(),
            highest_confidence=highest_confidence,
            tokens=len(ids),
            tokens_per_second=tokens_per_second,
            top_k=subject.structure["top_k"],
        )
        return cls(subject, table, known, tokens_per_second)

    def rule(self, settings: Mapping[str, Any]) -> VARRouter | None:
        """VAR with these settings; None, the untouched model, where they switch it off."""
        config = VARConfig(**settings)
        if not config.enable_var:
            return None
        return VARRouter(config, self.table, tokens_per_second=self.tokens_per_second)

    def decisions(self, settings: Mapping[str, Any]) -> str:
        """See `VARDecisions`."""
        config = VARConfig(**settings)
        return self.known.of(config.as_json()) if config.enable_var else NEVER

    def run(self, settings: Mapping[str, Any], *, own_when_full: bool = False) -> tuple[Run, Use]:
        """Run VAR once over the samples."""
        rule = self.rule(settings)
        run = self.subject.run(rule, own_when_full=own_when_full)
        top_k = self.subject.structure["top_k"]
        if rule is None:
            return run, Use(top_k, 1.0, 0.0)
        used = rule.config.fast_path_experts or top_k
        return run, looked_up_use(run.shares, used, top_k, rule.config.route_weights)


@dataclass(frozen=True)
class BHCandidates:
    """BH with the nulls of a model; settings are those of a configuration."""

    subject: Subject
    home: str
    """`module:Class` of the rule."""
    nulls: str

    def rule(self, settings: Mapping[str, Any]) -> Any:
        """BH with these settings."""
        return build_rule("bh", self.home, settings, {"nulls": self.nulls})

    def decisions(self, settings: Mapping[str, Any]) -> str:
        """Settings that differ may decide otherwise."""
        return "bh " + " ".join(f"{name}={settings[name]}" for name in sorted(settings))

    def run(self, settings: Mapping[str, Any], *, own_when_full: bool = False) -> tuple[Run, Use]:
        """Run BH once over the samples."""
        return counted_run(self.subject, self.rule(settings), own_when_full=own_when_full)


def counted_run(subject: Subject, rule: Any, *, own_when_full: bool) -> tuple[Run, Use]:
    """Run a rule that looks nothing up once over the samples, and count its experts."""
    counts = Counts(subject.structure["top_k"])
    run = subject.run(rule, observer=counts.observe, own_when_full=own_when_full)
    return run, Use(counts.experts / counts.rows, 1.0, counts.changed / counts.rows)


@dataclass
class Counts:
    """An observer of how many experts real tokens get, and how many get another number than trained."""

    top_k: int
    rows: int = 0
    experts: int = 0
    changed: int = 0

    def observe(self, layer: int, logits: torch.Tensor, selection: Any, context: Any) -> None:
        """What `attach` calls after each layer, with logits [tokens, experts]."""
        count = selection.count[context.is_token]
        self.rows += len(count)
        self.experts += int(count.sum())
        self.changed += int((count != self.top_k).sum())
