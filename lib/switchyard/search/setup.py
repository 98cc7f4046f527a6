"""A search made ready in a process: the model on its samples, the spaces, and the rules that they are spaces of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch

from switchyard.errors import InputError
from switchyard.evaluation.sequences import build_samples
from switchyard.search.candidates import BHCandidates, Candidates, Subject, VARCandidates
from switchyard.search.evaluator import Evaluator, Speed
from switchyard.search.spaces import BH
from switchyard.text.kinds import kind_of
from switchyard.var.evaluation import draw_samples
from switchyard.var.table import RoutingTable, table_for_model


@dataclass(frozen=True)
class Search:
    """What a search is, as JSON can hold it."""

    spaces: Mapping[str, Mapping[str, Any]]
    """Entries of `switchyard.search.spaces.make_space` by name, without the name."""
    max_quality_degradation: float
    speedup: str
    rounds: int
    sample_seed: int
    """Of the draw of samples."""
    batch_tokens: int
    tokens_per_second: float
    """Of VAR's clock."""


class Ready:
    """A search with its model in memory."""

    def __init__(
        self, search: Search, subject: Subject, reads: Mapping[str, str], bh_home: str | None = None
    ) -> None:
        """Run the untouched model.

        Args:
            reads: `routing_table` or `routing_stats` for VAR's spaces, `nulls` for BH's.
            bh_home: `module:Class` of BH.
        """
        speed = Speed(search.speedup, search.rounds)
        self.evaluator = Evaluator(subject, search.max_quality_degradation, speed)
        self._search, self._reads, self._bh_home = search, reads, bh_home
        self._candidates: dict[bool, Candidates] = {}

    def candidates(self, space: str) -> Candidates:
        """The rules of a space.

        Raises:
            InputError: a file that they need is not among `reads`.
        """
        is_bh = space == BH
        if is_bh not in self._candidates:
            self._candidates[is_bh] = self._bh() if is_bh else self._var()
        return self._candidates[is_bh]

    def _var(self) -> VARCandidates:
        subject = self.evaluator.subject
        if "routing_table" in self._reads:
            table = RoutingTable.read(self._reads["routing_table"])
        elif "routing_stats" in self._reads:
            table = table_for_model(self._reads["routing_stats"], subject.structure)
        else:
            raise InputError(
                "search: VAR's spaces need a table of routes; give routing statistics of the model"
            )
        highest = self.evaluator.highest_confidence
        return VARCandidates.of(subject, table, highest, self._search.tokens_per_second)

    def _bh(self) -> BHCandidates:
        if "nulls" not in self._reads or self._bh_home is None:
            raise InputError("search: the space bh needs the nulls of the model; give its nulls.parquet")
        return BHCandidates(self.evaluator.subject, self._bh_home, self._reads["nulls"])


def make_subject(
    search: Search,
    model: torch.nn.Module,
    tokenizer: Any,
    structure: Mapping[str, Any],
    text: pa.Table,
    *,
    samples: int,
    max_length: int,
) -> Subject:
    """Samples of a prepared text, drawn by the search's seed, of at most `max_length` tokens."""
    windows = build_samples(text, tokenizer, max_length=max_length)
    drawn = draw_samples(windows, samples, search.sample_seed)
    return Subject(model, tokenizer, structure, kind_of(text), drawn, search.batch_tokens)
