"""The performance calculator: a fitted performance model as a page that predicts in the browser, without network."""

from __future__ import annotations

import html
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, StrictUndefined

from switchyard.artifacts.files import write_text
from switchyard.profiling.performance_model import PerformanceModel
from switchyard.reporting.tables import STYLE

DATA_FILES = ("calculator.html",)
"""Files read from beside this module; the code fingerprint counts them."""


def write_calculator(
    path: str | Path, model: PerformanceModel, *, title: str, stamp: Mapping[str, Any] | None = None
) -> None:
    """Write the page. Its arithmetic is that of `PerformanceModel`, once more in JavaScript; a test compares them.

    Args:
        path: of the page.
        model: what it predicts by.
        title: of the page.
        stamp: the run stamp, kept in a data block.
    """
    template = files(__package__).joinpath(DATA_FILES[0]).read_text(encoding="utf-8")
    page = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(template)
    write_text(
        path,
        page.render(
            title=html.escape(title),
            style=STYLE,
            model=_in_script(model.as_json()),
            stamp=_in_script(dict(stamp or {})),
        ),
    )


def _in_script(content: Any) -> str:
    """JSON that cannot end the script around it."""
    text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY).decode()
    return text.replace("<", "\\u003c")
