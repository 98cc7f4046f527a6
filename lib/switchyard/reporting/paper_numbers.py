"""The numbers and claims of the paper as LaTeX macros, each with the cell that it was read from.

`numbers.tex` defines them; `numbers.csv` says of each macro the file, the row and the column of its cell.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from switchyard.reporting.latex import escaped, macro
from switchyard.reporting.numbers import number
from switchyard.reporting.var import presets

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Ends of the macros of the first, second, ... model, since macro names hold no digits."""

FINDINGS = "publish/tables/findings.csv"
OF_MODEL = {
    "Experiments": ("experiments", "count"),
    "Configurations": ("configurations", "count"),
    "SamplesFewest": ("samples_fewest", "count"),
    "SamplesMost": ("samples_most", "count"),
}
OF_ADAPTIVE = {
    "Compared": ("loss_comparisons", "count"),
    "Better": ("loss_better", "count"),
    "Worse": ("loss_worse", "count"),
    "Undecided": ("loss_undecided", "count"),
    "LowestDifference": ("loss_difference_lowest", "nats_change"),
    "HighestDifference": ("loss_difference_highest", "nats_change"),
    "SlowestSpeed": ("speedup_lowest", "ratio"),
    "FastestSpeed": ("speedup_highest", "ratio"),
}
"""Macro, without its letter -> column of the findings and number format."""


class Number(NamedTuple):
    """A macro and its cell."""

    macro: str
    value: float | str | None
    kind: str | None
    """Number format; None for text."""
    file: str
    """Below the results folder of the study."""
    row: str
    """Which row, as `column=value`, several with commas."""
    column: str

    @property
    def printed(self) -> str:
        """As LaTeX."""
        return escaped(self.value if self.kind is None else number(self.value, self.kind))


def of_findings(findings: pd.DataFrame) -> Iterator[Number]:
    """Numbers of every evaluated model; those of adaptive rules where it has some. `findings` is `findings.csv`."""
    for letter, model in zip(LETTERS, findings["model"].unique(), strict=False):
        own = findings[findings["model"] == model]
        whole = own[own["level"] == "model"].iloc[0]
        place = f"level=model,model={model}"
        yield Number(f"Model{letter}", model, None, FINDINGS, place, "model")
        yield from _cells(OF_MODEL, letter, whole, place)
        adaptive = own[(own["level"] == "role") & (own["role"] == "adaptive")]
        if len(adaptive):
            yield from _cells(
                OF_ADAPTIVE, letter, adaptive.iloc[0], f"level=role,role=adaptive,model={model}"
            )


def _cells(
    wanted: Mapping[str, tuple[str, str]], letter: str, row: pd.Series, place: str
) -> Iterator[Number]:
    for name, (column, kind) in wanted.items():
        value = None if pd.isna(row[column]) else float(row[column])
        yield Number(f"{name}{letter}", value, kind, FINDINGS, place, column)


def of_var(
    comparisons: Mapping[str, Sequence[Mapping[str, Any]]], letters: Mapping[str, str]
) -> Iterator[Number]:
    """What VAR's configurations look up and cost on the first text of each model; `comparisons` by model."""
    for model, found in comparisons.items():
        file, text = (
            f"var/{model}/comparison.json",
            next(one["dataset"] for one in found if one["kind"] == "text"),
        )
        for one in found:
            if one["dataset"] != text:
                continue
            place = f"name={one['name']},dataset={text}"
            stem = "Var" + re.sub("[^A-Za-z]", "", one["name"].title())
            shares = one["var_stats"]["overall"]["routing_distribution"]
            column = "var_stats.overall.routing_distribution.learned"
            yield Number(
                f"{stem}Learned{letters[model]}", shares["learned"] / 100, "share", file, place, column
            )
            change = one["quality"]["perplexity_change"]
            column = "quality.perplexity_change"
            yield Number(f"{stem}Change{letters[model]}", change, "share_change", file, place, column)


def numbers_tex(numbers: Sequence[Number], claims: Mapping[str, str]) -> str:
    """The macros; `claims` are sentences of the report by macro."""
    lines = [macro(one.macro, one.printed) for one in numbers]
    return "".join([*lines, *(macro(name, escaped(text)) for name, text in claims.items())])


def numbers_table(numbers: Sequence[Number]) -> pd.DataFrame:
    """One row per macro: `macro, printed, value, file, row, column`."""
    rows = [{**one._asdict(), "printed": one.printed} for one in numbers]
    return pd.DataFrame(rows)[["macro", "printed", "value", "file", "row", "column"]]


def letters_of(models: Sequence[str]) -> dict[str, str]:
    """The letter that ends a model's macros."""
    return dict(zip(models, LETTERS, strict=False))


def of_study(study: str, made: Mapping[str, Any]) -> dict[str, str]:
    """Macros of the availability statement: the study, the commit, and versions; `made` is a run stamp."""
    shown = ("python", "torch", "transformers", "snakemake", "duckdb")
    versions = {"python": made["python"], **made["libraries"]}
    return {
        "StudyName": study,
        "Commit": made["commit"],
        "Versions": ", ".join(f"{name} {versions[name]}" for name in shown if name in versions),
    }


def claims(answer: str, comparisons: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """The sentences of the abstract, as the report has them: `ClaimRouting` and `ClaimVar`.

    Args:
        answer: the fragment `publish/answer.html`.
        comparisons: model -> `comparisons` of `comparison.json`.
    """
    words = html.unescape(re.sub(r"<[^>]+>", " ", answer))
    looked_up = [f"{model}: {presets(found)}" for model, found in comparisons.items()]
    return {"ClaimRouting": " ".join(words.split()), "ClaimVar": " ".join(looked_up)}
