"""HumanEval and MBPP: a prompt, and the tests that a completion must pass; as lm-evaluation-harness 0.4.13 has them.

A program is `head`, the completion, and `tests`. For HumanEval the head is the prompt, which a completion continues;
for MBPP it is empty, since the completion is the whole function. MBPP's prompt is given without examples.
"""

from __future__ import annotations

from typing import Any

from switchyard.errors import InputError
from switchyard.text.cells import REMEDY, read_cell, read_nested, read_text
from switchyard.text.sources import Row

STOPS = {"humaneval": ["\nclass", "\ndef", "\n#", "\nif", "\nprint"], "mbpp": ["[DONE]"]}
"""What ends a completion, and is no part of it."""


def humaneval(row: Row) -> dict[str, Any]:
    """A problem of HumanEval: columns `task_id, prompt, test, entry_point`, and `canonical_solution` if it is there."""
    prompt = read_text(row, "prompt")
    return {
        "task_id": _task_id(row),
        "prompt": prompt,
        "head": prompt,
        "tests": f"{read_text(row, 'test')}\ncheck({read_text(row, 'entry_point')})\n",
        "stop": STOPS["humaneval"],
        "solution": row.values.get("canonical_solution"),
    }


def mbpp(row: Row) -> dict[str, Any]:
    """A problem of MBPP: columns `task_id, text` (or `prompt`), `test_list`, and what there is of its others.

    Raises:
        InputError: `test_list` is no list of tests.
    """
    tests = read_nested(row, "test_list")
    if not (isinstance(tests, list) and tests and all(isinstance(one, str) for one in tests)):
        raise InputError(f"{row.place}, column 'test_list': not a list of tests; {REMEDY}")
    task = read_text(row, "text" if "text" in row.values else "prompt")
    shown = "\n".join(tests[:3])
    before = [*(row.values.get("test_imports") or ()), row.values.get("test_setup_code") or ""]
    return {
        "task_id": _task_id(row),
        "prompt": f"You are an expert Python programmer, and here is your task: {task} Your code should pass these "
        f"tests:\n\n{shown}\n[BEGIN]\n",
        "head": "",
        "tests": "\n".join([*before, *tests, ""]),
        "stop": STOPS["mbpp"],
        "solution": row.values.get("code"),
    }


def layout_of(columns: dict[str, Any]) -> str | None:
    """The layout of problems with these columns, if it is one."""
    return {"entry_point": "humaneval", "test_list": "mbpp"}.get(
        next((name for name in ("entry_point", "test_list") if name in columns), "")
    )


def _task_id(row: Row) -> str:
    found = read_cell(row, "task_id")
    if isinstance(found, bool) or not isinstance(found, int | str) or not str(found).strip():
        raise InputError(f"{row.place}, column 'task_id': {found!r} names no problem; {REMEDY}")
    return str(found)
