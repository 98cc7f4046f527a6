"""JSON text of ragged lists of numbers without a Python object per number.

One call to orjson writes all numbers of a layer; the commas at the ends of tokens are then turned into `],[`.
"""

from __future__ import annotations

import numpy as np
import orjson

_COMMA = ord(",")
_MARK = ord(";")


def dumps(content: object) -> bytes:
    """JSON of plain objects and contiguous NumPy arrays; floats are the shortest that read back the same."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def ragged(values: np.ndarray, offsets: np.ndarray) -> bytes:
    """`[[..],[..]]`: list r holds `values[offsets[r]:offsets[r + 1]]`; lists may be empty.

    Shapes: values [P] int or float32, finite; offsets [R + 1], offsets[0] = 0, offsets[R] = P.
    """
    lengths = np.diff(offsets)
    if not len(lengths):
        return b"[]"
    if (lengths == lengths[0]).all():
        return (
            dumps(np.ascontiguousarray(values).reshape(len(lengths), -1))
            if lengths[0]
            else _empty(len(lengths))
        )
    if (lengths == 0).any():
        return _with_empty(values, lengths)
    return _marked(values, offsets)


def _marked(values: np.ndarray, offsets: np.ndarray) -> bytes:
    text = np.frombuffer(dumps(np.ascontiguousarray(values)), np.uint8).copy()
    commas = np.flatnonzero(text == _COMMA)
    text[commas[offsets[1:-1] - 1]] = _MARK
    return b"[" + text.tobytes().replace(b";", b"],[") + b"]"


def _empty(lists: int) -> bytes:
    return b"[" + b",".join([b"[]"] * lists) + b"]"


def _with_empty(values: np.ndarray, lengths: np.ndarray) -> bytes:
    """Empty lists hold one placeholder while the text is cut: -1 for integers, null for floats."""
    integer = np.issubdtype(values.dtype, np.integer)
    at = np.repeat(np.cumsum(lengths) - lengths, lengths == 0)
    padded = np.insert(values, at, -1 if integer else np.nan)
    offsets = np.concatenate([[0], np.cumsum(np.maximum(lengths, 1))])
    return _marked(padded, offsets).replace(b"[-1]" if integer else b"[null]", b"[]")
