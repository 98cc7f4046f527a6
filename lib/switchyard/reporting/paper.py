"""The main table for a paper: one row per configuration, as LaTeX, Markdown and CSV."""

from __future__ import annotations

from pathlib import Path

import orjson
import pandas as pd

from switchyard.artifacts.files import write_text
from switchyard.artifacts.stamps import attach_to
from switchyard.charts.tables import STATIC, Tables
from switchyard.reporting.numbers import number
from switchyard.reporting.tables import markdown_table

TEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "α": r"$\alpha$",
    "–": "--",
}


def main_table(tables: Tables) -> pd.DataFrame:
    """Unrounded: config_name, configuration, mean experts, then perplexity and accuracy (if any) of each dataset.

    Static rules first, by their k, then the others in the study's order.
    """
    frame = tables.configurations.merge(tables.overall[["config_name", "avg_experts"]], on="config_name")
    static_k = frame["k_or_max_k"].where(frame["routing_type"] == STATIC, float("inf"))
    frame = frame.loc[static_k.sort_values(kind="stable").index, ["config_name", "label", "avg_experts"]]
    frame = frame.rename(columns={"label": "configuration", "avg_experts": "mean experts"}).reset_index(
        drop=True
    )
    for dataset in tables.datasets:
        rows = tables.results[tables.results["dataset"] == dataset].set_index("config_name")
        frame[f"{dataset} perplexity"] = frame["config_name"].map(rows["perplexity"])
        if dataset in tables.accuracy_datasets:
            frame[f"{dataset} accuracy"] = frame["config_name"].map(rows["avg_task_accuracy"])
    return frame


def write_paper_tables(tables: Tables, folder: str | Path, stamp: dict | None = None) -> list[Path]:
    """Write `main_table.tex`, `.md` and `.csv`; the best value of a column is bold in the first two."""
    frame = main_table(tables)
    note = orjson.dumps(stamp or {}, option=orjson.OPT_SORT_KEYS).decode()
    contents = {
        "tex": f"% {note}\n{latex(frame)}",
        "md": f"{markdown(frame)}\n\n<!-- {note.replace('--', '- -')} -->\n",
        "csv": frame.to_csv(index=False, lineterminator="\n"),
    }
    paths = [Path(folder) / f"main_table.{suffix}" for suffix in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        write_text(path, content)
    return paths if stamp is None else [*paths, attach_to(paths[-1], stamp)]


def latex(frame: pd.DataFrame) -> str:
    """A booktabs tabular."""
    shown = frame.drop(columns="config_name")
    rows = _marked(shown, bold=r"\textbf{%s}", clean=_tex)
    lines = [r"\begin{tabular}{l" + "r" * (shown.shape[1] - 1) + "}", r"\toprule"]
    lines += [" & ".join(_tex(name) for name in shown.columns) + r" \\", r"\midrule"]
    lines += [" & ".join(row) + r" \\" for row in rows] + [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def markdown(frame: pd.DataFrame) -> str:
    """A pipe table."""
    shown = frame.drop(columns="config_name")
    return markdown_table(list(shown.columns), _marked(shown, bold="**%s**", clean=str))


def column_kind(name: str) -> str | None:
    """Number format of a column of the main table, None for text."""
    ends = {"perplexity": "perplexity", "accuracy": "share", "experts": "experts"}
    return ends.get(name.rsplit(" ", 1)[-1])


def _marked(frame: pd.DataFrame, *, bold: str, clean) -> list[list[str]]:
    columns = [_column(frame[name], column_kind(name), bold, clean) for name in frame.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _column(values: pd.Series, kind: str | None, bold: str, clean) -> list[str]:
    if kind is None:
        return [clean(value) for value in values]
    texts = [clean(number(value, kind)) for value in values]
    best = {"perplexity": values.min(), "share": values.max()}.get(kind)
    return [
        bold % text if best is not None and value == best else text
        for text, value in zip(texts, values, strict=True)
    ]


def _tex(text: str) -> str:
    return "".join(TEX_ESCAPES.get(letter, letter) for letter in str(text))
