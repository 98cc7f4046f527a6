"""What values are compared with: a dashed line through a view, and the words beside it."""

from __future__ import annotations

import altair as alt

from switchyard.charts import style

SAID = {"fontSize": 10, "color": style.INK}


def across(value: float, words: str = "", *, above: bool = True) -> list[alt.Chart]:
    """A horizontal line with words at its right end, above or below it."""
    place = {"align": "right", "dx": -3, "baseline": "bottom" if above else "top", "dy": -2 if above else 3}
    text = style.once().mark_text(text=words, **place, **SAID)
    said = [text.encode(x=alt.value("width"), y=alt.datum(value))] if words else []
    return [style.line(y=value, colour=style.INK), *said]


def upright(value: float, words: str = "", *, top: bool = True) -> list[alt.Chart]:
    """A vertical line with words right of it, at its upper or lower end."""
    place = {"align": "left", "dx": 4, "baseline": "top" if top else "bottom", "dy": 3 if top else -16}
    text = style.once().mark_text(text=words, **place, **SAID)
    said = [text.encode(x=alt.datum(value), y=alt.value(0 if top else "height"))] if words else []
    return [style.line(x=value, colour=style.INK), *said]
