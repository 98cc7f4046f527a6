"""The Markdown report: every sentence is chosen by the tables, every number printed from a cell of them."""

from __future__ import annotations

from pathlib import Path

import orjson

from switchyard.charts.tables import Tables
from switchyard.files import write_text
from switchyard.reporting import sections
from switchyard.reporting.recommendations import recommendations


def report(
    tables: Tables, *, study: str, model: str, machine: str | None = None, stamp: dict | None = None
) -> str:
    """The report on a study as Markdown text.

    `machine` says in words where speed was measured; `stamp` is the run stamp, printed at the end.
    """
    parts = [f"# Expert routing: {study}", sections.opening(tables, model=model)]
    for title, paragraphs in (
        ("Findings", sections.findings(tables)),
        ("Recommendations", recommendations(tables)),
        ("All configurations", sections.everything(tables)),
        ("Best quality at each budget", sections.at_each_budget(tables)),
        ("Against the trained top-k, paired by sample", sections.paired(tables)),
        ("Against static top-k at the same budget", sections.same_budget(tables)),
        ("Dominated configurations", sections.dominance(tables)),
        ("Floor and ceiling", sections.floor_and_ceiling(tables)),
        ("More experts than trained", sections.above_trained(tables)),
        ("Compute and speed", sections.compute(tables, machine=machine)),
        ("Limits", sections.limits(tables)),
        ("Provenance", _provenance(stamp)),
    ):
        parts += [f"## {title}", *paragraphs]
    return "\n\n".join(parts) + "\n"


def write_report(path: str | Path, tables: Tables, **options) -> None:
    """Write `report(tables, **options)`."""
    write_text(path, report(tables, **options))


def _provenance(stamp: dict | None) -> list[str]:
    if not stamp:
        return ["No run stamp was given."]
    text = orjson.dumps(stamp, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()
    return ["The tables this page was written from carry this stamp.", f"```json\n{text}\n```"]
