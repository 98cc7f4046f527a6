"""One scheme for figures by layer: a strip over all layers, and below it the views of single layers.

Interactive, a list chooses the layer below the strip. On paper up to `MOST` layers are all drawn; of more, the first,
the middle and the last, so that a model with 32 layers stays readable. A shade in the strip marks them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import altair as alt
import pandas as pd

from switchyard.charts import style

MOST = 4
"""Layers that are all drawn on paper."""
WIDTH = 1230
"""Pixels that the views of a figure share, axes included."""
STRIP = 84
"""Height in pixels of the strip over all layers."""
GAP = 64
"""Pixels between the plots of neighbouring views: an axis and its title."""
CHOSEN = "chosen_layer"
"""Name of the parameter that the list sets."""


class Whole:
    """A whole figure as Vega-Lite. Altair copies all charts below at each level that joins some, a second for a few."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = {"$schema": alt.SCHEMA_URL, "config": style.CONFIG, **spec}

    def to_dict(self) -> dict[str, Any]:
        """The specification."""
        return self.spec


class Figure(NamedTuple):
    """A figure as it is printed, and as a page whose reader chooses the layer."""

    drawing: alt.TopLevelMixin | Whole
    page: alt.TopLevelMixin | Whole


Part = alt.TopLevelMixin | dict[str, Any]
"""A view of a figure, or several joined."""


def column(*parts: Part, spacing: int) -> dict[str, Any]:
    """Views below one another."""
    return _joined("vconcat", parts, spacing)


def row(*parts: Part, spacing: int) -> dict[str, Any]:
    """Views beside one another."""
    return _joined("hconcat", parts, spacing)


def _joined(how: str, parts: Sequence[Part], spacing: int) -> dict[str, Any]:
    """Views as one part of a specification; the data of all of them stand beside, for the whole."""
    views, datasets = [], {}
    for part in parts:
        context = {"top_level": False, "datasets": datasets}
        view = dict(part) if isinstance(part, dict) else part.to_dict(context=context)
        datasets |= view.pop("datasets", {})
        views.append(view)
    return {how: views, "spacing": spacing, "datasets": datasets}


Charted = Callable[[pd.DataFrame], alt.Chart]
"""A chart of those rows of a table (with `layer`) that belong to the layer in view."""
View = Callable[[Charted, int], Part]
"""Draws one layer, so many pixels wide."""
Strip = Callable[[alt.X], list[alt.Chart]]
"""Draws all layers along an x."""


def drawn(layers: Sequence[str]) -> list[str]:
    """The layers that are drawn on paper."""
    if len(layers) <= MOST:
        return list(layers)
    return [layers[0], layers[(len(layers) - 1) // 2], layers[-1]]


def by_layer(
    layers: Sequence[str],
    view: View,
    *,
    words: dict[str, str],
    strip: Strip,
    strip_title: str,
    title: str,
    subtitle: list[str],
    columns: int = 1,
) -> Figure:
    """A figure in the scheme of this module.

    Args:
        layers: names, in order; a single one has neither strip nor list.
        view: draws one layer.
        words: a line or more above each layer's view.
        strip: draws all layers, with a heading `strip_title`.
        columns: layers beside each other on paper; four are two by two where it is more than one.
    """
    lines = pd.DataFrame({"layer": list(layers), "words": [words[layer] for layer in layers]})
    shown = drawn(layers)

    def block(charted: Charted, width: int) -> Part:
        return column(_said(lines, charted, width), view(charted, width), spacing=6)

    def figure(rows: list[Part], below: list[str] | None, note: list[str], *params: alt.Parameter) -> Whole:
        head = [_strip(layers, below, strip, strip_title)] if len(layers) > 1 else []
        whole = {**column(*head, *rows, spacing=22), "title": heading(title, [*subtitle, *note]).to_dict()}
        return Whole({**whole, "params": [param.param.to_dict() for param in params]} if params else whole)

    across = _across(len(shown), columns)
    width = (WIDTH - GAP * (across - 1)) // across
    blocks = [block(_only(layer), width) for layer in shown]
    rows = [row(*blocks[one : one + across], spacing=24) for one in range(0, len(blocks), across)]
    left_out = (
        f"Layers {', '.join(shown)} of {len(layers)}; the strip shows all, the interactive figure draws any."
    )
    drawing = figure(rows, shown, [left_out] if len(shown) < len(layers) else [])
    if len(layers) == 1:
        return Figure(drawing, drawing)
    choice = alt.binding_select(options=list(layers), name="layer ")
    chosen = alt.param(name=CHOSEN, value=layers[0], bind=choice)
    page = figure([block(_chosen, WIDTH)], None, ["The list under the figure chooses the layer."], chosen)
    return Figure(drawing, page)


def heading(title: str, subtitle: list[str]) -> alt.TitleParams:
    """Title of a whole figure."""
    return alt.TitleParams(title, subtitle=subtitle, fontSize=16, anchor="start", offset=14)


def layers_x(layers: Sequence[str]) -> alt.X:
    """The layers side by side."""
    axis = {"title": "layer", "labelAngle": 0, "grid": False, "labelOverlap": "greedy"}
    return alt.X("layer:N", scale=alt.Scale(domain=list(layers)), axis=axis)


def _across(views: int, columns: int) -> int:
    return 2 if views == 4 and columns > 1 else min(views, columns)


def table(frame: pd.DataFrame) -> alt.InlineData:
    """Rows as text with six digits: a third of the size of the same rows as objects, and of any number."""
    text = frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    numbers = dict.fromkeys(frame.select_dtypes("number"), "number")
    return alt.InlineData(values=text, format={"type": "csv", "parse": numbers})


def _only(*layers: str) -> Charted:
    return lambda frame: alt.Chart(table(frame[frame["layer"].isin(layers)]))


def _chosen(frame: pd.DataFrame) -> alt.Chart:
    return alt.Chart(table(frame)).transform_filter(f"datum.layer == {CHOSEN}")


def _strip(layers: Sequence[str], below: list[str] | None, strip: Strip, title: str) -> alt.LayerChart:
    x = layers_x(layers)
    charted = _chosen if below is None else _only(*below)
    band = charted(pd.DataFrame({"layer": list(layers)})).mark_bar(
        color=style.INK, opacity=0.07, width={"band": 1}
    )
    shades = [] if below is not None and len(below) == len(layers) else [band.encode(x=x)]
    return alt.layer(*shades, *strip(x)).properties(
        width=min(WIDTH - GAP, 80 * len(layers) + 100),
        height=STRIP,
        title=alt.TitleParams(title, fontSize=11, fontWeight="normal", anchor="start", offset=4),
    )


def _said(lines: pd.DataFrame, charted: Charted, width: int) -> alt.Chart:
    rows = 1 + int(lines["words"].str.count("\n").max())
    text = charted(lines).mark_text(
        align="left", baseline="top", fontSize=12, color=style.INK, limit=width, lineBreak="\n"
    )
    return text.encode(x=alt.value(0), y=alt.value(1), text="words:N").properties(
        width=width, height=16 * rows, view=alt.ViewBackground(stroke=None)
    )
