"""Tables as plain Markdown and as a self-contained HTML page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from switchyard.artifacts.files import write_text
from switchyard.reporting.numbers import number

STYLE = """
body { font: 14px/1.5 "Liberation Sans", Arial, Helvetica, sans-serif; color: #222; margin: 1.2rem; }
table { border-collapse: collapse; }
caption { text-align: left; padding: 0 0 .8rem; color: #555; max-width: 60rem; }
th { position: sticky; top: 0; z-index: 1; background: #fff; border-bottom: 2px solid #767676; font-weight: 600; }
th { vertical-align: bottom; line-height: 1.25; }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
th.text, td.text { text-align: left; }
tbody tr td { background: #fff; } tbody tr:nth-child(odd) td { background: #f6f6f6; }
"""

WIDE_STYLE = """
table { font-size: 12.5px; } caption { max-width: min(60rem, 90vw); }
th { white-space: normal; max-width: 6.5rem; }
th:first-child, td:first-child { position: sticky; left: 0; padding-right: 1rem; box-shadow: 1px 0 #d4d4d4; }
th:first-child { z-index: 2; }
td:first-child { white-space: normal; min-width: 10rem; max-width: 15rem; line-height: 1.25; }
"""
"""For tables wider than a window: the first column stays while the others scroll, headings break."""


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> str:
    """A pipe table; the first `text_columns` columns are set left, the others right."""
    rule = [":--" if place < text_columns else "--:" for place in range(len(header))]
    return "\n".join("| " + " | ".join(_piped(cell) for cell in row) + " |" for row in (header, rule, *rows))


def html_table(
    frame: pd.DataFrame,
    *,
    title: str,
    caption: str,
    kinds: Mapping[str, str] | None = None,
    stamp: dict | None = None,
) -> str:
    """A page with one table: `kinds` says which format of `numbers.FORMATS` a column has; other cells stand as text."""
    kinds = kinds or {}
    columns = [(name, "number" if name in kinds else "text") for name in frame.columns]
    head = "".join(f'<th class="{sort}" scope="col">{_breakable(str(name))}</th>' for name, sort in columns)
    body = "\n".join(_row(record, columns, kinds) for record in frame.to_dict("records"))
    note = orjson.dumps(stamp or {}, option=orjson.OPT_SORT_KEYS).decode().replace("</", "<\\/")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f'<script type="application/json" id="switchyard">{note}</script>\n'
        f"<style>{STYLE}{WIDE_STYLE}</style>\n</head>\n<body>\n"
        f"<table>\n<caption><strong>{html.escape(title)}.</strong> {html.escape(caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</body>\n</html>\n"
    )


def write_html_table(path: str | Path, frame: pd.DataFrame, **options: Any) -> None:
    """Write `html_table(frame, **options)`."""
    write_text(path, html_table(frame, **options))


def _row(record: dict, columns: Sequence[tuple[str, str]], kinds: Mapping[str, str]) -> str:
    texts = [
        (number(record[name], kinds[name]) if name in kinds else _text(record[name]), sort)
        for name, sort in columns
    ]
    return "<tr>" + "".join(f'<td class="{sort}">{html.escape(text)}</td>' for text, sort in texts) + "</tr>"


def _breakable(heading: str) -> str:
    """A heading that may break after an underscore."""
    return html.escape(heading).replace("_", "_<wbr>")


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def _piped(cell: str) -> str:
    return str(cell).replace("|", "\\|")
