"""Problems of HumanEval and MBPP as prepared samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from switchyard.errors import InputError
from switchyard.text.kinds import kind_of
from switchyard.text.programs import layout_of
from switchyard.text.sources import Row, read_file
from switchyard.text.tasks import prepare

OWN = Path(__file__).parents[2] / "reference" / "programs.jsonl"


def mbpp(**changed: Any) -> dict[str, Any]:
    row = {
        "task_id": 11,
        "text": "Write a function to double.",
        "code": "def double(x):\r\n  return 2 * x",
        "test_list": ["assert double(1) == 2", "assert double(0) == 0", "assert double(2) == 4"],
        "test_setup_code": "import math",
        "challenge_test_list": [],
    }
    return {**row, **changed}


def prepared(layout: str, *records: dict[str, Any]) -> list[dict[str, Any]]:
    return prepare([Row.of("x.jsonl", 1, one) for one in records], kind="code", layout=layout).to_pylist()


def test_own_problems() -> None:
    table = prepare(read_file(OWN), kind="code", layout="humaneval")
    assert kind_of(table) == "code" and table.num_rows == 10
    for one in table.to_pylist():
        assert one["head"] == one["prompt"] and one["stop"][0] == "\nclass"
        exec(f"{one['head']}{one['solution']}\n{one['tests']}", {})


def test_mbpp() -> None:
    (one,) = prepared("mbpp", mbpp())
    assert one["task_id"] == "11" and one["head"] == "" and one["stop"] == ["[DONE]"]
    assert one["prompt"] == (
        "You are an expert Python programmer, and here is your task: Write a function to double. Your code should "
        "pass these tests:\n\nassert double(1) == 2\nassert double(0) == 0\nassert double(2) == 4\n[BEGIN]\n"
    )
    assert one["tests"].startswith("import math\nassert double(1) == 2\n")
    exec(f"{one['head']}{one['solution']}\n{one['tests']}", {})


def test_the_sanitised_mbpp() -> None:
    row = mbpp(prompt="Write a function to double.", test_imports=["import re", "import math"])
    del row["text"], row["test_setup_code"]
    (one,) = prepared("mbpp", row)
    assert one["tests"].startswith("import re\nimport math\n")


@pytest.mark.parametrize(
    ("layout", "row", "message"),
    [
        ("mbpp", mbpp(test_list=[]), "column 'test_list': not a list of tests"),
        ("mbpp", mbpp(task_id=None), "column 'task_id': None names no problem"),
        ("humaneval", mbpp(), "no column 'prompt', which this layout needs"),
    ],
)
def test_refusals(layout: str, row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepared(layout, row)


def test_layouts_are_seen_from_columns() -> None:
    assert layout_of(mbpp()) == "mbpp"
    assert layout_of({"entry_point": ""}) == "humaneval"
    assert layout_of({"text": ""}) is None
