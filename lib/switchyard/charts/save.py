"""A chart as SVG, 300-dpi PNG and self-contained HTML, each carrying the run stamp, the same bytes every time."""

from __future__ import annotations

import html
import json
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import altair as alt
import orjson
import vl_convert
from altair.utils.html import spec_to_html

from switchyard.artifacts.files import atomic

DPI = 300
CSS_PER_INCH = 96
POINTS_PER_INCH = 72
"""vl-convert takes a pixel of the chart for a point; scaled by 72/96 it is a pixel of CSS, as in SVG and HTML."""

ACTIONS = {"actions": {"export": True, "source": True, "compiled": False, "editor": False}, "renderer": "svg"}
"""What the menu of the interactive figure offers: nothing that goes to the network."""
FIT = "<style>.vega-embed { width: 100%; } .vega-embed svg.marks { max-width: 100%; height: auto; }</style>"
"""A drawing wider than its window shrinks; an SVG answers to the pointer at any size."""


class Figure(NamedTuple):
    """A figure as it is printed, and as a page: narrower, or with something to choose."""

    drawing: alt.TopLevelMixin
    page: alt.TopLevelMixin


def save(
    chart: alt.TopLevelMixin | Figure,
    folder: str | Path,
    name: str,
    stamp: dict | None = None,
    *,
    page: alt.TopLevelMixin | None = None,
) -> list[Path]:
    """Write `folder/name.svg`, `.png` and `.html`; return their paths.

    `page` is what the HTML shows, where that is another chart, as in a `Figure`. It shrinks to the window's width.

    `stamp` (JSON) goes into the SVG's metadata, a text chunk of the PNG and a data block of the HTML. The HTML holds
    its JavaScript and works offline.
    """
    chart, page = chart if isinstance(chart, Figure) else (chart, page)
    spec = chart.to_dict()
    note = orjson.dumps(stamp or {}, option=orjson.OPT_SORT_KEYS).decode()
    contents = {
        "svg": _svg(vl_convert.vegalite_to_svg(spec), note).encode(),
        "png": _png(vl_convert.vegalite_to_png(spec, scale=POINTS_PER_INCH / CSS_PER_INCH, ppi=DPI), note),
        "html": _html(spec if page is None else page.to_dict(), name, note).encode(),
    }
    paths = []
    for suffix, content in contents.items():
        paths.append(Path(folder) / f"{name}.{suffix}")
        with atomic(paths[-1]) as partial:
            partial.write_bytes(content)
    return paths


def save_svg(chart: alt.TopLevelMixin, path: str | Path, stamp: dict | None = None) -> Path:
    """Write a chart as SVG alone, with the run stamp in its metadata."""
    note = orjson.dumps(stamp or {}, option=orjson.OPT_SORT_KEYS).decode()
    with atomic(path) as partial:
        partial.write_text(_svg(vl_convert.vegalite_to_svg(chart.to_dict()), note), encoding="utf-8")
    return Path(path)


def save_pdf(chart: alt.TopLevelMixin | Figure, path: str | Path) -> Path:
    """Write a chart as a vector PDF with embedded fonts; a PDF holds no stamp (`artifacts.stamps.attach_to`)."""
    chart = chart.drawing if isinstance(chart, Figure) else chart
    with atomic(path) as partial:
        partial.write_bytes(vl_convert.vegalite_to_pdf(chart.to_dict()))
    return Path(path)


def _svg(drawing: str, note: str) -> str:
    head, rest = drawing.split(">", 1)
    return f'{head}><metadata id="switchyard">{html.escape(note, quote=False)}</metadata>{rest}'


def _png(image: bytes, note: str) -> bytes:
    """The image with an iTXt chunk (PNG specification, 11.3.4.5) right after its header."""
    header = 8 + 25
    body = b"iTXt" + b"switchyard\0\0\0\0\0" + note.encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return image[:header] + chunk + image[header:]


def _html(spec: dict, name: str, note: str) -> str:
    page = spec_to_html(
        spec,
        mode="vega-lite",
        vega_version=alt.VEGA_VERSION,
        vegalite_version=alt.VEGALITE_VERSION,
        vegaembed_version=alt.VEGAEMBED_VERSION,
        embed_options=ACTIONS,
        template="inline",
        json_kwds={"cls": _InScript},
    )
    data = note.replace("</", "<\\/")
    head = f"{FIT}\n  <title>{html.escape(name)}</title>"
    block = f'{head}\n  <script type="application/json" id="switchyard">{data}</script>\n'
    return page.replace("<head>", f"<head>\n  {block}", 1).replace("<html>", '<html lang="en">', 1)


class _InScript(json.JSONEncoder):
    """JSON that cannot end or nest the script around it, whatever texts (tokens) are drawn."""

    def encode(self, o: object) -> str:
        return super().encode(o).replace("<", "\\u003c")
