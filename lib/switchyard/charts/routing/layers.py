"""One scheme for figures by layer: a strip over all layers, and below it the views of single layers.

Interactive, a list chooses the layer below the strip. In print up to `MOST` layers are all drawn; of more, the first,
the middle and the last, so that a model with 32 layers stays readable. A shade in the strip marks them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

import altair as alt
import pandas as pd

from switchyard.charts import style
from switchyard.charts.save import Figure
from switchyard.charts.style import WIDTH, heading

MOST = 4
"""Layers that are all drawn in print."""
STRIP = 84
"""Height in pixels of the strip over all layers."""
CHOSEN = "chosen_layer"
"""Name of the parameter that the list sets."""


class View(NamedTuple):
    """One view of a layer: marks without data, and the rows (with `layer`, text) that they are drawn from."""

    marks: list[alt.Chart]
    rows: pd.DataFrame


class Words(NamedTuple):
    """What is written: the figure's title, its lines, a line for each layer, and the strip's heading."""

    title: str
    lines: list[str]
    layers: dict[str, str]
    strip: str


Strip = Callable[[alt.X], list[alt.Chart]]
"""Draws all layers along an x."""


def drawn(layers: Sequence[str]) -> list[str]:
    """The layers that are drawn in print."""
    if len(layers) <= MOST:
        return list(layers)
    return [layers[0], layers[(len(layers) - 1) // 2], layers[-1]]


def by_layer(
    words: Words,
    views: Sequence[View],
    strip: Strip,
    *,
    height: int,
    gap: int,
    own_axes: bool = False,
    widest: int = 860,
) -> Figure:
    """A figure in the scheme of this module.

    Args:
        words: its layers are the figure's, in order; a single one has neither strip nor list.
        views: one has its layers beside each other, several are columns with a row for each layer.
        strip: draws all layers.
        height: of a view, pixels.
        gap: pixels between views: an axis and its title.
        own_axes: each layer has axes of its own.
        widest: pixels of a single view, at most.
    """
    layers = list(words.layers)
    shown = drawn(layers)
    note = (
        f"Layers {', '.join(shown)} of {len(layers)}; the strip shows all, the interactive figure draws any."
    )
    lines = [
        *words.lines,
        *([note] if len(shown) < len(layers) else []),
        *(words.layers[one] for one in shown),
    ]
    body = _facets(views, shown, height, gap, widest)
    body = body.resolve_scale(x="independent", y="independent") if own_axes else body
    below = f"indexof({json.dumps(shown)}, datum.layer) >= 0" if len(shown) < len(layers) else "false"
    drawing = _figure(words, body, layers, strip, below, lines)
    if len(layers) == 1:
        return Figure(drawing, drawing)
    said = alt.ExprRef(f"{json.dumps(words.layers, ensure_ascii=False)}[{CHOSEN}]")
    title = alt.TitleParams(said, fontSize=12, fontWeight="normal", anchor="start", offset=6)
    body = _chosen(views, height, gap, min(widest, style.PAGE)).properties(title=title)
    lines = [*words.lines, "The list under the figure chooses the layer."]
    page = _figure(words, body, layers, strip, f"datum.layer == {CHOSEN}", lines)
    choice = alt.binding_select(options=layers, name="layer ")
    return Figure(drawing, page.add_params(alt.param(name=CHOSEN, value=layers[0], bind=choice)))


def _facets(views: Sequence[View], shown: list[str], height: int, gap: int, widest: int) -> alt.TopLevelMixin:
    """Views of the layers shown: of one view in columns, of several in rows."""
    names = [f"layer {one}" for one in shown]
    rows = [view.rows[view.rows["layer"].isin(shown)] for view in views]
    rows = [own.assign(layer="layer " + own["layer"]) for own in rows]
    charts = [alt.layer(*view.marks, data=table(own)) for view, own in zip(views, rows, strict=True)]
    if len(views) == 1:
        across = 2 if len(shown) == 4 else len(shown)
        width = min(style.each(across, gap=gap, width=WIDTH), widest)
        facet = alt.Facet("layer:N", sort=names, title=None)
        return charts[0].properties(width=width, height=height).facet(facet, columns=across, spacing=24)
    width = style.each(len(views), gap=gap)
    charts = [
        chart.properties(width=width, height=height).facet(
            row=alt.Row("layer:N", sort=names, header=alt.Header(title=None, labels=not place)),
            spacing=22,
            bounds="flush",
        )
        for place, chart in enumerate(charts)
    ]
    return alt.hconcat(*charts, spacing=14).resolve_scale(color="independent")


def _chosen(views: Sequence[View], height: int, gap: int, widest: int) -> alt.TopLevelMixin:
    """Views of the layer that the list chooses, two beside each other."""
    width = widest if len(views) == 1 else style.each(2, gap=gap, width=widest)
    charts = [
        alt.layer(*view.marks, data=table(view.rows))
        .transform_filter(f"datum.layer == {CHOSEN}")
        .properties(width=width, height=height)
        for view in views
    ]
    return alt.concat(*charts, columns=2, spacing=14).resolve_scale(color="independent")


def _figure(
    words: Words, body: alt.TopLevelMixin, layers: list[str], strip: Strip, below: str, lines: list[str]
) -> alt.TopLevelMixin:
    """The strip and what stands below it; `below` says which layers these are."""
    title = heading(words.title, lines)
    if len(layers) == 1:
        return style.dress(body.properties(title=title))
    x = layers_x(layers)
    shade = alt.Chart(pd.DataFrame({"layer": layers})).transform_filter(below)
    shade = shade.mark_bar(color=style.INK, opacity=0.07, width={"band": 1}).encode(x=x)
    above = alt.TitleParams(words.strip, fontSize=11, fontWeight="normal", anchor="start", offset=4)
    top = alt.layer(shade, *strip(x)).properties(
        width=min(style.PAGE - 60, 80 * len(layers) + 100), height=STRIP, title=above
    )
    return style.dress(alt.vconcat(top, body, spacing=22, title=title).resolve_scale(color="independent"))


def layers_x(layers: Sequence[str]) -> alt.X:
    """The layers side by side."""
    axis = {"title": "layer", "labelAngle": 0, "grid": False, "labelOverlap": "greedy"}
    return alt.X("layer:N", scale=alt.Scale(domain=list(layers)), axis=axis)


def table(frame: pd.DataFrame) -> alt.InlineData:
    """Rows as text with six digits: a third of the size of the same rows as objects, and of any number."""
    text = frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    numbers = dict.fromkeys(frame.select_dtypes("number"), "number")
    return alt.InlineData(values=text, format={"type": "csv", "parse": numbers})
