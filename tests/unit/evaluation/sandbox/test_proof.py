"""The self-test finds walls that hold, and walls that do not."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from switchyard.errors import InputError
from switchyard.evaluation.sandbox import candidate, proof
from switchyard.evaluation.sandbox.candidate import NotStarted, Sandbox
from switchyard.evaluation.sandbox.limits import Limits
from switchyard.evaluation.sandbox.open import opened
from switchyard.evaluation.sandbox.stage import Stage
from switchyard.evaluation.sandbox.walls import INTERPRETER, Bubblewrap, Start, environment

from .conftest import LIMITS


def test_every_wall_holds(sandbox: Sandbox) -> None:
    assert proof.prove(sandbox) == dict.fromkeys(proof.ATTEMPTS, proof.HELD)


class NoWalls:
    """A process like any other."""

    name, guarantee = "none", "none"

    def start(self, stage: Stage, filter_number: int, limits: Limits) -> Start:
        variables = {**environment(str(stage.python)), "SECRET": "1"}
        return Start([f"{stage.python}/bin/python", *INTERPRETER, str(stage.runner)], variables)


@pytest.fixture
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    far = (1000, 2**40, 2**40, 1000, 9000)
    monkeypatch.setattr(candidate, "_limits", lambda *given: ",".join(map(str, far)))


@pytest.fixture
def writable(stage: Stage, tmp_path: Path) -> Iterator[Stage]:
    """A stage whose interpreter any user may change."""
    folder = Path(f"/tmp/switchyard-writable-{os.getpid()}")
    shutil.copytree(stage.folder, folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777)
    yield Stage(folder)
    shutil.rmtree(folder)


@pytest.mark.slow
def test_missing_walls_are_found(writable: Stage, unlimited: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidate, "ordinary_user", dict)
    monkeypatch.setattr(proof, "_SECONDS", 0.4)
    limits = dataclasses.replace(LIMITS, memory_mb=64, files_mb=2)
    found = proof.prove(Sandbox(NoWalls(), writable, limits))
    held = {name for name, one in found.items() if one == proof.HELD}
    # A loop still meets the clock of the watching process, and no user but a privileged one raises limits.
    assert held <= {"time", "limits stay"}, found


def test_a_broken_wall_is_a_refusal() -> None:
    with pytest.raises(InputError, match="wall 'network' is broken: wrong; no candidate was run"):
        proof.check({"disk": proof.HELD, "network": "broken: wrong"}, "bubblewrap")


def test_without_any_walls_nothing_runs() -> None:
    class Missing(Bubblewrap):
        def start(self, *given: object) -> Start:
            return Start(["/bin/sh", "-c", "echo no permissions >&2; exit 1"], {})

    with (
        pytest.raises(
            InputError, match="no code is executed on this machine: .*(no permissions|not installed)"
        ),
        opened(LIMITS, [Missing()]),
    ):
        raise AssertionError("it was opened")


def test_the_second_choice_is_announced(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from switchyard.evaluation.sandbox import open as opening

    monkeypatch.setattr(opening, "prove", lambda sandbox: dict.fromkeys(proof.ATTEMPTS, proof.HELD))
    monkeypatch.setattr(opening, "shutil", SimpleNamespace(which=lambda name: None))
    with opened(LIMITS) as proved:
        assert proved.stamp["kind"] == "landlock"
        assert set(proved.stamp["walls"].values()) == {"held"}
    assert "the weaker of two guarantees" in caplog.text


def test_a_machine_without_walls_is_an_error_of_its_own(stage: Stage) -> None:
    class Failing:
        name, guarantee = "failing", ""

        def start(self, *given: object) -> Start:
            return Start(["/bin/false"], {})

    with pytest.raises(NotStarted, match="sandbox: failing cannot be used here"):
        Sandbox(Failing(), stage, LIMITS).run("")
