"""Hostile completions, each stopped, with the host unharmed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reference.hostile import HOSTILE
from switchyard.evaluation.sandbox.candidate import Sandbox
from switchyard.evaluation.sandbox.proof import Host

PROBLEM = json.loads((Path(__file__).parents[3] / "reference" / "programs.jsonl").read_text().splitlines()[0])


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with ExitStack() as held:
        yield Host(held)


def test_there_are_twenty_kinds_at_least() -> None:
    assert len(HOSTILE) >= 20


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile(kind: str, sandbox: Sandbox, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHYARD_SECRET", "of the host")
    completion, reasons = HOSTILE[kind]
    for name, value in host.names().items():
        completion = completion.replace(f"{{{name}!r}}", repr(value)).replace(f"{{{name}}}", str(value))
    program = f"{PROBLEM['prompt']}{completion}\n{PROBLEM['test']}\ncheck({PROBLEM['entry_point']})\n"
    outcome = sandbox.run(program, mark=host.mark)
    assert outcome.reason in reasons, outcome
    assert (
        host.has_its_file() and host.has_its_process() and host.has_no_leftovers() and host.was_not_called()
    )
