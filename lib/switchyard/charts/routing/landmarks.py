"""Words inside a view: what its lines are, and the landmarks that values are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from switchyard.charts import style

DASH = {"strokeDash": [5, 3], "strokeWidth": 1.2, "color": style.INK}
SAID = {"fontSize": 10, "color": style.INK}


def across(
    value: float, words: str, scale: alt.Scale, *, above: bool = True, right: bool = True
) -> list[alt.Chart]:
    """A horizontal line with words at its right (or left) end, above or below it."""
    base = alt.Chart(pd.DataFrame({"at": [value], "words": [words]}))
    y = alt.Y("at:Q", scale=scale)
    text = base.mark_text(
        align="right" if right else "left",
        baseline="bottom" if above else "top",
        dx=-3 if right else 3,
        dy=-2 if above else 3,
        **SAID,
    )
    x = alt.value("width") if right else alt.value(0)
    return [base.mark_rule(**DASH).encode(y=y), text.encode(x=x, y=y, text="words:N")]


def upright(value: float, words: str, scale: alt.Scale, *, top: bool = True) -> list[alt.Chart]:
    """A vertical line with words right of it, at its upper or lower end."""
    base = alt.Chart(pd.DataFrame({"at": [value], "words": [words]}))
    x = alt.X("at:Q", scale=scale)
    text = base.mark_text(
        align="left", baseline="top" if top else "bottom", dx=4, dy=3 if top else -16, **SAID
    )
    return [
        base.mark_rule(**DASH).encode(x=x),
        text.encode(x=x, y=alt.value(0 if top else "height"), text="words:N"),
    ]


def key(names: Sequence[tuple[str, str]], *, bottom: int | None = None) -> list[alt.Chart]:
    """Names of lines (name, colour) below each other, at the upper left, or at the right above pixel `bottom`."""
    found = []
    for place, (name, hue) in enumerate(names):
        text = alt.Chart(pd.DataFrame({"words": [name]})).mark_text(
            color=hue,
            align="left" if bottom is None else "right",
            baseline="top" if bottom is None else "bottom",
            dx=6 if bottom is None else -6,
            fontSize=10,
            fontWeight="bold",
        )
        y = 4 + 12 * place if bottom is None else bottom - 6 - 12 * (len(names) - 1 - place)
        x = alt.value(0) if bottom is None else alt.value("width")
        found.append(text.encode(x=x, y=alt.value(y), text="words:N"))
    return found
