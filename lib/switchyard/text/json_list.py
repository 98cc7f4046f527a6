"""The elements of a JSON list, one at a time, so that a large file costs the memory of a piece of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TextIO

from switchyard.errors import InputError

PIECE = 2**20
"""Characters that are read at a time; more where an element is longer."""

LONGEST = 2**24
"""Characters of the longest element."""

_BLANKS = re.compile(r"[ \t\r\n]*")
_decode = json.JSONDecoder().raw_decode


class JsonList:
    """Iterates over the elements of a list, each as the text that stands in the file.

    Args:
        text: a file that holds a JSON list and nothing else.
        name: what messages call it.

    Raises:
        InputError: no list, something that is not JSON in it, or an end before its closing bracket.
    """

    def __init__(self, text: TextIO, name: str) -> None:
        self.text, self.name = text, name
        self.buffer, self.at, self.number = "", 0, 0

    def __iter__(self) -> Iterator[str]:
        sign = self._take("[")
        while sign != "]":
            if sign == "[" and self._next() == "]":
                self._take("]")
                break
            yield self._element()
            sign = self._take(",", "]")
        if self._next():
            raise self._fault("something follows the list")

    def _more(self) -> bool:
        """Read on, as much again as is waiting; False at the end of the file."""
        piece = self.text.read(max(PIECE, len(self.buffer) - self.at))
        self.buffer, self.at = self.buffer[self.at :] + piece, 0
        return bool(piece)

    def _next(self) -> str:
        """The next character that is not blank, "" at the end of the file."""
        while True:
            self.at = _BLANKS.match(self.buffer, self.at).end()
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self._more():
                return ""

    def _take(self, *expected: str) -> str:
        sign = self._next()
        if sign not in expected:
            found = repr(sign) if sign else "the end of the file"
            raise self._fault(f"{found} where {' or '.join(map(repr, expected))} is expected")
        self.at += 1
        return sign

    def _element(self) -> str:
        self._next()
        while True:
            try:
                _, end = _decode(self.buffer, self.at)
                break
            except json.JSONDecodeError as error:  # or it goes on beyond what was read
                if len(self.buffer) - self.at > LONGEST or not self._more():
                    raise self._fault(error.msg) from error
        element, self.at = self.buffer[self.at : end], end
        self.number += 1
        return element

    def _fault(self, reason: str) -> InputError:
        return InputError(
            f"{self.name}, after row {self.number}: not JSON ({reason}); correct the file or fetch it again"
        )
