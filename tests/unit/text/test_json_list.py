"""A JSON list read piece by piece gives what `json.loads` gives, wherever the pieces end."""

from __future__ import annotations

import io
import json
import random

import pytest

from switchyard.errors import InputError
from switchyard.text import json_list
from switchyard.text.json_list import JsonList

VALUES = [{}, {"a": 1, "b": [None, -2.5e-3, 'x]},\\"[']}, {"é": "😀 \ud83d"}, [], "}, {", {"deep": [[{}]]}]


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 2**20])
@pytest.mark.parametrize("indent", [None, 1])
def test_elements_are_those_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, piece: int, indent: int | None
) -> None:
    monkeypatch.setattr(json_list, "PIECE", piece)
    draw = random.Random(piece)
    for count in (0, 1, 2, 20):
        values = draw.choices(VALUES, k=count)
        text = f" \n{json.dumps(values, indent=indent, ensure_ascii=draw.random() < 0.5)}\r\n "
        assert [json.loads(one) for one in JsonList(io.StringIO(text), "a.json")] == values


@pytest.mark.parametrize("piece", [1, 2**20])
def test_a_list_cut_anywhere_is_refused(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(json_list, "PIECE", piece)
    text = json.dumps([{"a": "b, ]"}, {"c": [{}, 12]}])
    for end in range(len(text)):
        with pytest.raises(InputError, match="a.json, after row [012]: not JSON"):
            list(JsonList(io.StringIO(text[:end]), "a.json"))


@pytest.mark.parametrize("text", ["[{},]", "[,{}]", "[{} {}]", "[{}]]", "[{}] x", "{}", "[{]}", "[}"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not JSON"):
        list(JsonList(io.StringIO(text), "a.json"))


def test_a_broken_element_does_not_read_the_whole_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_list, "PIECE", 10)
    monkeypatch.setattr(json_list, "LONGEST", 100)
    text = io.StringIO('[{"a": "' + "b" * 10_000)
    with pytest.raises(InputError, match="after row 0"):
        list(JsonList(text, "a.json"))
    assert text.tell() < 1000
