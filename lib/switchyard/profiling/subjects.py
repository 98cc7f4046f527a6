"""What is profiled side by side: twins of one model in one process, each under a rule of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from switchyard.profiling.names import UNTOUCHED
from switchyard.routing.attachment import attach


@dataclass(frozen=True)
class Subject:
    """A model under a rule."""

    name: str
    model: nn.Module
    rule: Any
    """The rule as `attach` filled it in; None for the untouched model."""


@contextmanager
def subjects(model: nn.Module, rules: Mapping[str, Any]) -> Iterator[list[Subject]]:
    """The untouched model first, then a twin under each of the rules, for as long as the `with` block lasts.

    Twins share their weights and nothing else, so that rules that remember what they saw keep it between rounds.
    """
    with ExitStack() as attached:
        found = [Subject(UNTOUCHED, twin(model), None)]
        for name, rule in rules.items():
            same = twin(model)
            found.append(Subject(name, same, attached.enter_context(attach(same, rule)).rule))
        yield found


def twin(model: nn.Module) -> nn.Module:
    """A model with the same weights, in the same memory."""
    return copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
