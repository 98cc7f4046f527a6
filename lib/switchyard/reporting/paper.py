"""The main table for a paper: one row per configuration, as LaTeX, Markdown and CSV."""

from __future__ import annotations

from pathlib import Path

import orjson
import pandas as pd

from switchyard.artifacts.files import write_text
from switchyard.artifacts.stamps import attach_to
from switchyard.reporting.numbers import number
from switchyard.reporting.tables import markdown_table
from switchyard.warehouse.study_tables import STATIC, Tables

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
    """Unrounded, model by model: model, config_name, configuration, mean experts, then measures of each dataset.

    These are its perplexity and, where it has one, its accuracy. Static rules first, by their k, then the others in the
    study's order.
    """
    parts = [_of_model(tables.of(model)).assign(model=model) for model in tables.models]
    frame = pd.concat(parts, ignore_index=True)
    return frame[["model", *(name for name in frame if name != "model")]]


def _of_model(tables: Tables) -> pd.DataFrame:
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
    """Write `main_table.tex`, `.md` and `.csv`; the best value of a model in a column is bold in the first two."""
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
    lines = [r"\begin{tabular}{ll" + "r" * (shown.shape[1] - 2) + "}", r"\toprule"]
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
    rows = []
    for _, part in frame.groupby("model", sort=False):
        columns = [_column(part[name], column_kind(name), bold, clean) for name in part.columns]
        rows += [list(row) for row in zip(*columns, strict=True)]
    return rows


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
