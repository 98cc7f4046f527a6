"""What becomes of programs that mean no harm."""

from __future__ import annotations

import pytest

from switchyard.evaluation.sandbox.candidate import LONGEST_BYTES, Outcome, Sandbox


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("", Outcome("passed")),
        ("import math, re, collections, typing\nassert math.gcd(4, 6) == 2", Outcome("passed")),
        ("print('seen by nobody')\nassert input is not None", Outcome("passed")),
        ("assert 1 == 2, 'they differ'", Outcome("wrong", "AssertionError: they differ")),
        ("1 / 0", Outcome("error", "ZeroDivisionError: division by zero")),
        ("def f(:", Outcome("error", "SyntaxError: invalid syntax (<candidate>, line 1)")),
        ("import numpy", Outcome("error", "ModuleNotFoundError: No module named 'numpy'")),
        ("raise SystemExit", Outcome("error", "SystemExit")),
        ("x = 'ä' * 3\nassert len(x) == 3", Outcome("passed")),
        ("\0", Outcome("error", "SyntaxError: source code string cannot contain null bytes")),
        ("x = '\\ud800'", Outcome("passed")),
        (
            "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\n"
            "assert A(1) == A(1)",
            Outcome("passed"),
        ),
        ("if __name__ == '__main__':\n    raise SystemExit", Outcome("passed")),
        ("import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()", Outcome("passed")),
    ],
)
def test_outcomes(program: str, expected: Outcome, sandbox: Sandbox) -> None:
    found = sandbox.run(program)
    assert (found.reason, found.message.replace("ValueError", "SyntaxError")) == expected


def test_a_program_that_no_pipe_holds_is_refused(sandbox: Sandbox) -> None:
    assert sandbox.run(f"x = {'1' * LONGEST_BYTES}").reason == "refused"


def test_a_long_program_is_run(sandbox: Sandbox) -> None:
    assert sandbox.run("x = 1\n" * (LONGEST_BYTES // 10)).reason == "passed"


def test_sets_have_one_order(sandbox: Sandbox) -> None:
    program = "assert list({'a', 'b', 'c', 'd'}) == %r"
    order = sandbox.run("raise ValueError(list({'a', 'b', 'c', 'd'}))").message.partition(": ")[2]
    assert sandbox.run(f"assert list({{'a', 'b', 'c', 'd'}}) == {order}").reason == "passed", program


def test_candidates_share_nothing(sandbox: Sandbox) -> None:
    sandbox.run("import builtins\nbuiltins.left = 1\nopen('/tmp/left-by-a-candidate', 'w').write('x')")
    assert sandbox.run(
        "import os\nassert not os.path.exists('/tmp/left-by-a-candidate')\nleft"
    ).message.startswith("NameError")
