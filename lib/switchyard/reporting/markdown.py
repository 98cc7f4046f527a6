"""The Markdown report: every sentence is chosen by the tables, every number printed from a cell of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson
import pandas as pd

from switchyard.artifacts.files import write_text
from switchyard.reporting import costs, summary, trained, verdicts
from switchyard.reporting.account import refuse_unaccounted
from switchyard.reporting.findings import Findings, findings_table
from switchyard.reporting.recommendations import recommendations
from switchyard.warehouse.study_tables import Tables


def report(
    tables: Tables, *, study: str, model: str, machine: str | None = None, stamp: dict | None = None
) -> str:
    """The report on a study as Markdown text.

    `machine` says in words where speed was measured; `stamp` is the run stamp, printed at the end.

    Raises:
        InputError: a number of the text stands in no table.
    """
    findings = findings_table(tables)
    found = Findings(findings)
    parts = [f"# Expert routing: {study}"]
    for title, paragraphs in (
        ("In short", summary.answer(tables, found)),
        ("What was compared, and how", summary.method(tables, found, model=model)),
        ("Verdicts at equal compute", verdicts.verdicts(tables, found)),
        ("Recommendations", recommendations(tables, found)),
        ("Differences at equal compute", verdicts.differences(tables)),
        (
            "Which tokens get more experts",
            _if_any(found, "random_comparisons", verdicts.random_counts, tables),
        ),
        ("Given budgets", _if_any(found, "target_gap_largest", verdicts.budgets, tables)),
        ("Compute and speed", costs.compute(tables, found, machine=machine)),
        ("Against the trained top-k", trained.against_trained(tables, found)),
        ("Floor and ceiling", costs.floor_and_ceiling(tables, found)),
        ("All configurations", trained.everything(tables)),
        ("Limits", trained.limits(found)),
        ("Provenance", _provenance(stamp)),
    ):
        parts += [f"## {title}", *paragraphs] if paragraphs else []
    text = "\n\n".join(parts) + "\n"
    refuse_unaccounted(text, sources(tables, findings, study=study, model=model, machine=machine))
    return text


def sources(tables: Tables, findings: pd.DataFrame, **names: str | None) -> Mapping[str, pd.DataFrame]:
    """The tables that a number of the report may come from, and the names that stand in it."""
    frames = ("results", "overall", "differences", "configurations", "equal_compute")
    return {
        **{name: getattr(tables, name) for name in frames},
        "findings": findings,
        "names": pd.DataFrame([names]),
    }


def write_report(path: str | Path, tables: Tables, **options) -> None:
    """Write `report(tables, **options)`."""
    write_text(path, report(tables, **options))


def _if_any(found: Findings, finding: str, section, tables: Tables) -> list[str]:
    """A section that only some studies have."""
    return section(tables, found) if found.value(finding) else []


def _provenance(stamp: dict | None) -> list[str]:
    if not stamp:
        return ["No run stamp was given."]
    text = orjson.dumps(stamp, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()
    return ["The tables this page was written from carry this stamp.", f"```json\n{text}\n```"]
