"""Token ids in words: blanks, line ends and bytes that are no text can be seen."""

from __future__ import annotations

import pandas as pd

LONGEST = 18
"""Letters of a token that are shown."""
BLANK = "·"
ESCAPED = (BLANK, "\\")
"""Letters that are escaped although they can be seen: they would be taken for a blank or an escape."""


def visible(text: str | None) -> str:
    """`text` on one line, at most `LONGEST` letters: a blank as a middle dot, what prints nothing as an escape."""
    if not isinstance(text, str):
        return "?"
    letters = [_visible(one) for one in text]
    if len(letters) > LONGEST:
        letters = [*letters[: LONGEST - 1], "…"]
    return "".join(letters) or "(empty)"


def _visible(letter: str) -> str:
    if letter == " ":
        return BLANK
    if letter.isprintable() and letter not in ESCAPED:
        return letter
    return letter.encode("unicode_escape", "backslashreplace").decode()


def named(frame: pd.DataFrame) -> pd.Series:
    """What each row's token is called: its visible text, with the token id where another id has the same text.

    `frame` has `token_id` and, where texts are known, `token_str`; without a text the id is the name.
    """
    ids = frame["token_id"].astype("int64")
    if "token_str" not in frame:
        return "id " + ids.astype(str)
    texts = frame["token_str"].map(visible)
    shared = texts.groupby(texts).transform(lambda rows: ids[rows.index].nunique()) > 1
    return texts.where(~shared, texts + " " + ids.astype(str))
