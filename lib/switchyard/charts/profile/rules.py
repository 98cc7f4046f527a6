"""What the figures of a profile share: a colour for each rule, the order of phases, a scheme of views."""

from __future__ import annotations

from collections.abc import Iterable

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.profiling.names import UNTOUCHED
from switchyard.profiling.points import PHASES

HEIGHT = 250
WIDTH = 470
GAP = 60


def hues(names: Iterable[str]) -> alt.Color:
    """The untouched model in ink, the rules in the hues of the style, in their order."""
    order = list(dict.fromkeys(names))
    rest = [name for name in order if name != UNTOUCHED]
    colours = dict(zip(rest, style.HUES, strict=False)) | {UNTOUCHED: style.INK}
    scale = alt.Scale(domain=order, range=[colours[name] for name in order])
    return alt.Color("rule:N", scale=scale, legend=alt.Legend(title="rule", orient="bottom", columns=5))


def phases(frame: pd.DataFrame) -> list[str]:
    """Those that the frame has, in order."""
    return [phase for phase in PHASES if phase in set(frame["phase"])]


def tips(**fields: str) -> list[alt.Tooltip]:
    """Tooltips by field; an empty format is text."""
    return [
        alt.Tooltip(name, title=name.replace("_", " "), **({"format": form} if form else {}))
        for name, form in fields.items()
    ]


def log_x(field: str, values: pd.Series, title: str) -> alt.X:
    """A logarithmic x about the values."""
    axis = {"title": title, "format": "~s", "tickCount": 5}
    return alt.X(field, scale=log_scale(values, 1.15), axis=axis)


def log_y(field: str, values: pd.Series, title: str) -> alt.Y:
    """A logarithmic y about the values."""
    axis = {"title": title, "format": "~s", "tickCount": 5}
    return alt.Y(field, scale=log_scale(values, 1.2), axis=axis)


def log_scale(values: pd.Series, factor: float) -> alt.Scale:
    """A logarithmic scale from the least over `factor` to the most times it."""
    return alt.Scale(type="log", domain=[values.min() / factor, values.max() * factor], nice=False)
