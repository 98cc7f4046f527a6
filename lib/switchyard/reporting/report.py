"""The report in words: templates filled from the findings, so that every printed number is a cell of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from switchyard.artifacts.files import read_stamp, read_table
from switchyard.reporting.numbers import FORMATS, counted, number

Row = Mapping[str, Any]

LISTED = 20
"""Rows of a dataset that were left out and are listed; the file has all."""

_place = itemgetter("dataset_order")


def render(
    findings: Sequence[Row],
    template: str | Path,
    *,
    study: str,
    speeds: Mapping[str, Mapping[str, Any]],
    skipped: Sequence[Row] = (),
    looked_up: Mapping[str, str] | None = None,
    stamp: dict | None = None,
) -> str:
    """The report on a study as Markdown text.

    `findings` are the rows of the view `findings`, `template` is the file `report.md.j2` among its pages, `speeds`
    by model the content of its `speed.json`, of which `device` and `untouched` are read, `skipped` is what `left_out`
    gives, `looked_up` says by model what VAR does to it, and `stamp` is the run stamp, printed at the end.
    """
    template = Path(template)
    pages = Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {kind: partial(number, kind=kind) for kind in FORMATS if kind != "count"}
    pages.filters |= {"integer": partial(number, kind="count"), "number": number, "counted": counted}
    pages.filters["suffixed"] = lambda text, ending: text + ending
    note = orjson.dumps(stamp, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() if stamp else ""
    text = pages.get_template(template.name).render(
        models=list(_models(findings)),
        study=study,
        speeds=speeds,
        skipped=skipped,
        looked_up=looked_up or {},
        stamp=note,
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def left_out(files: Sequence[Path]) -> list[dict[str, Any]]:
    """`dataset, skipped, samples` and `rows` (`place, reason`) of the datasets that rows were left out of."""
    found = []
    for path in files:
        if rows := read_table(path).to_pylist():
            samples = read_stamp(path)["samples"]
            found.append(
                {"dataset": path.stem, "skipped": len(rows), "samples": samples, "rows": rows[:LISTED]}
            )
    return found


def _models(findings: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """The findings of each model, by what they are about."""
    for name, group in groupby(findings, key=itemgetter("model")):
        of: dict[str, list[Row]] = {
            level: list(rows) for level, rows in groupby(group, key=itemgetter("level"))
        }
        yield {
            "name": name,
            "whole": of["model"][0],
            "roles": {row["role"]: row for row in of["role"]},
            "sets": of["set"],
            "configurations": of["configuration"],
            "experiments": {(row["config_name"], row["dataset"]): row for row in of["experiment"]},
            "datasets": {row["dataset"]: row["scored"] for row in sorted(of["experiment"], key=_place)},
            "picks": {row["role"]: row for row in of["configuration"] if row["pick"]},
            "surest": next((row for row in of["configuration"] if row["surest"]), None),
        }
