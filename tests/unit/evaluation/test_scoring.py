"""Scoring: right and wrong programs, what a kill leaves, and the verb `score-code`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from switchyard import __main__ as command
from switchyard.errors import InputError
from switchyard.evaluation.sandbox.candidate import Outcome
from switchyard.evaluation.scoring import Candidate, candidates_of, score, summary

OWN = Path(__file__).parents[2] / "reference" / "programs.jsonl"
PROBLEMS = [json.loads(line) for line in OWN.read_text().splitlines()]


class Counting:
    """A sandbox that runs nothing, and counts."""

    def __init__(self, fails_at: int = 10**9) -> None:
        self.ran: list[str] = []
        self.fails_at = fails_at

    def run(self, program: str) -> Outcome:
        if len(self.ran) == self.fails_at:
            raise KeyboardInterrupt
        self.ran.append(program)
        return Outcome("passed" if int(program) % 2 else "wrong", program)


def proved(sandbox: Any, kind: str = "none") -> Any:
    return SimpleNamespace(sandbox=sandbox, stamp={"kind": kind})


CANDIDATES = [Candidate("a", number, "same", str(number)) for number in range(12)]
EXPECTED = [Outcome("passed" if number % 2 else "wrong", str(number)) for number in range(12)]


def test_what_was_scored_before_a_kill_is_not_run_again(tmp_path: Path) -> None:
    kept, first, second = tmp_path / "kept", Counting(fails_at=5), Counting()
    with pytest.raises(KeyboardInterrupt):
        score(CANDIDATES, proved(first), workers=1, kept=kept)
    kept.write_text(kept.read_text()[:-3])  # the last line was being written
    done: list[int] = []
    assert score(CANDIDATES, proved(second), workers=2, kept=kept, progress=done.append) == EXPECTED
    assert len(first.ran) == 5 and len(second.ran) == 12 - 4 and sum(done) == 12
    assert score(CANDIDATES, proved(third := Counting()), workers=2, kept=kept) == EXPECTED and not third.ran


def test_another_sandbox_or_program_is_another_candidate(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    score(CANDIDATES, proved(Counting()), workers=2, kept=kept)
    score(CANDIDATES, proved(again := Counting(), "other"), workers=2, kept=kept)
    assert len(again.ran) == 12
    changed = [CANDIDATES[0]._replace(program="7"), *CANDIDATES[1:]]
    score(changed, proved(again := Counting()), workers=2, kept=kept)
    assert again.ran == ["7"]


def test_summary() -> None:
    candidates = [*CANDIDATES[:3], Candidate("b", 0, "", "1")]
    outcomes = [Outcome("passed"), Outcome("wrong"), Outcome("time-out"), Outcome("memory")]
    found = summary(candidates, outcomes, [1, 3])
    assert found["pass@1"] == pytest.approx((1 / 3 + 0) / 2) and found["pass@3"] is None
    assert found["reasons"] == {"passed": 1, "wrong": 1, "error": 0, "time-out": 1, "memory": 1, "refused": 0}
    assert found["per_problem"][0]["pass@3"] == 1 and found["per_problem"][1]["outcomes"] == [
        {"reason": "memory", "message": ""}
    ]


def test_samples_and_problems_must_fit() -> None:
    problems = [{"task_id": "a", "head": "h", "tests": "t"}, {"task_id": "b", "head": "h", "tests": "t"}]
    assert [
        one.number for one in candidates_of(problems, [("b", "1"), ("a", "2"), ("b", "3")], place="x")
    ] == [0, 0, 1]
    assert candidates_of(problems[:1], [("a", "c")], place="x")[0].program == "hc\nt"
    with pytest.raises(InputError, match="x: task_id 'c' is not among the problems"):
        candidates_of(problems, [("c", "")], place="x")
    with pytest.raises(InputError, match="x: 1 of 2 problems have no sample, the first is b"):
        candidates_of(problems, [("a", "")], place="x")


def write_samples(path: Path, column: str, times: int = 1) -> None:
    rows = [{"task_id": one["task_id"], "completion": one[column]} for one in PROBLEMS for _ in range(times)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *options: str) -> int:
    given = ["--samples", folder / "samples.jsonl", "--problems", OWN, "--output", folder / "out", *options]
    monkeypatch.setattr(sys, "argv", ["switchyard", "score-code", *map(str, given)])
    return command.main()


@pytest.mark.parametrize(("column", "share"), [("canonical_solution", 1.0), ("wrong_solution", 0.0)])
def test_right_and_wrong_solutions(
    column: str,
    share: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_samples(tmp_path / "samples.jsonl", column, times=2)
    assert run(monkeypatch, tmp_path, "--k", "1", "2") == 0
    found = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert found["pass@1"] == found["pass@2"] == share and found["problems"] == 10
    assert set(found["provenance"]["sandbox"]["walls"].values()) == {"held"}
    rows = [json.loads(line) for line in (tmp_path / "out" / "scored_samples.jsonl").read_text().splitlines()]
    assert len(rows) == 20 and all(row["passed"] == bool(share) for row in rows)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "scored_samples.jsonl",
        "scores.json",
    ]
    assert f"pass@1: {share:.4f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"task_id": "Own/0"}, "line 1: no column 'completion'"),
        ({"task_id": "Own/0", "completion": 1}, "column 'completion': not text"),
        ({"task_id": "Own/99", "completion": ""}, "task_id 'Own/99' is not among the problems"),
    ],
)
def test_unusable_samples_are_one_line(
    row: dict,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "samples.jsonl").write_text(json.dumps(row) + "\n")
    assert run(monkeypatch, tmp_path) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_call_goes_on(tmp_path: Path) -> None:
    slow = "    import time\n    time.sleep(0.2)\n"
    rows = [
        {"task_id": one["task_id"], "completion": slow + one["canonical_solution"]} for one in PROBLEMS
    ] * 3
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out, kept = tmp_path / "out", tmp_path / "out" / "scored-so-far.jsonl"
    line = [sys.executable, "-m", "switchyard", "score-code", "--samples", tmp_path / "samples.jsonl"]
    line += ["--problems", OWN, "--output", out, "--k", "1", "--workers", "1"]
    process = subprocess.Popen(line, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (kept.is_file() and kept.read_text().count("\n") >= 5):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    before = kept.read_text().count("\n")
    assert before < 30 and not (out / "scores.json").exists()
    said = subprocess.run(line, check=True, capture_output=True, text=True)
    assert json.loads((out / "scores.json").read_text())["pass@1"] == 1 and not kept.exists()
    assert f"{before} of 30 candidates were scored before" in said.stderr
