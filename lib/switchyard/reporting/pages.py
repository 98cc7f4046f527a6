"""The study's tables and texts as self-contained pages."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
from markdown_it import MarkdownIt

from switchyard.artifacts.files import write_text
from switchyard.artifacts.stamps import attach_to
from switchyard.reporting.numbers import COLUMN_KINDS
from switchyard.reporting.paper import column_kind, main_table
from switchyard.reporting.tables import STYLE, write_html_table
from switchyard.warehouse.study_tables import Tables

EQUAL_COMPUTE_TITLES = {
    "model": "model",
    "label": "configuration",
    "dataset": "dataset",
    "avg_experts": "experts",
    "against_avg_experts": "experts of static",
    "loss_difference": "loss difference",
    "loss_difference_low": "from",
    "loss_difference_high": "to",
    "loss_p_holm": "loss p, Holm",
    "loss_verdict": "loss verdict",
    "accuracy_difference": "accuracy difference",
    "accuracy_p_holm": "accuracy p, Holm",
    "accuracy_verdict": "accuracy verdict",
    "set_name": "set",
    "samples": "samples",
    "loss_p": "loss p, alone",
    "only_this_correct": "only this correct",
    "only_against_correct": "only static correct",
    "mcnemar_p": "accuracy p, alone (McNemar)",
}
"""Columns of the page on equal compute, as readers see them."""

PROSE_STYLE = """
body { max-width: 60rem; } h1, h2 { line-height: 1.2; } h2 { margin-top: 2rem; } pre { overflow-x: auto; }
table { margin: 1rem 0; } th { white-space: normal; max-width: 9rem; }
"""


def write_document(path: str | Path, markdown: str, *, title: str, stamp: dict | None = None) -> None:
    """Write Markdown as a page of its own."""
    write_text(
        path,
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f"{_data_block(stamp)}\n<style>{STYLE}{PROSE_STYLE}</style>\n</head>\n<body>\n{_html(markdown)}</body>\n</html>\n",
    )


def write_fragment(path: str | Path, markdown: str, *, stamp: dict) -> None:
    """Write Markdown as a part of another page, its stamp beside it: a script in it would end the page's own script."""
    write_text(path, _html(markdown))
    attach_to(path, stamp)


def _html(markdown: str) -> str:
    return MarkdownIt("commonmark").enable("table").render(markdown)


def _data_block(stamp: dict | None) -> str:
    note = orjson.dumps(stamp or {}, option=orjson.OPT_SORT_KEYS).decode().replace("</", "<\\/")
    return f'<script type="application/json" id="switchyard">{note}</script>'


def write_results(path: str | Path, tables: Tables, **options: Any) -> None:
    """All experiments with their metrics."""
    caption = (
        "One row per configuration and dataset; a dash is a measure that is not defined there. Columns are named as in "
        "the CSV, JSON and Parquet files."
    )
    frame = _labelled(tables, tables.results, ["model", "dataset"])
    write_html_table(path, frame, title="All experiments", caption=caption, kinds=COLUMN_KINDS, **options)


def write_configs(path: str | Path, tables: Tables, **options: Any) -> None:
    """All configurations, means over datasets."""
    caption = "Accuracy is the mean over the datasets that have one, perplexity that of the texts."
    keys = ["model", "config_name"]
    settings = tables.configurations[[*keys, "set_name", "null_name", "weighting"]]
    new = [name for name in settings if name not in tables.overall]
    frame = tables.overall.merge(settings[[*keys, *new]], on=keys, how="left")
    frame = _labelled(tables, frame, ["model", *new])
    write_html_table(path, frame, title="Configurations", caption=caption, kinds=COLUMN_KINDS, **options)


def write_equal_compute(path: str | Path, tables: Tables, **options: Any) -> None:
    """Every verdict against mixed static top-k of the same mean number of experts."""
    keys = ["model", "config_name"]
    names = tables.configurations[[*keys, "label", "set_name"]]
    frame = tables.equal_compute.merge(names, on=keys)
    caption = (
        "Each configuration minus mixed static top-k of the same mean number of experts on the same dataset, paired by "
        "sample. Loss in nats per target token with its 95 % interval, above 0 is worse; accuracy as a share of all "
        "answers, below 0 is worse. p-values are shown as they are and after Holm's correction, for all losses of a "
        "model and for all its accuracies; a verdict needs a corrected p below 0.05."
        if len(frame)
        else "Nothing was compared: the study has no set `{rule: mixed_topk, match: [...]}` in `routing`."
    )
    shown = frame[list(EQUAL_COMPUTE_TITLES)].rename(columns=EQUAL_COMPUTE_TITLES)
    kinds = {
        title: COLUMN_KINDS[name] for name, title in EQUAL_COMPUTE_TITLES.items() if name in COLUMN_KINDS
    }
    write_html_table(path, shown, title="Equal compute", caption=caption, kinds=kinds, **options)


def _labelled(tables: Tables, frame: pd.DataFrame, first: list[str]) -> pd.DataFrame:
    """Label first, then the columns `first`, the name in files last."""
    frame = frame.assign(configuration=frame["config_name"].map(tables.labels))
    ends = ["configuration", *first, "config_name"]
    return frame[["configuration", *first, *(name for name in frame if name not in ends), "config_name"]]


def write_main_table(path: str | Path, tables: Tables, **options: Any) -> None:
    """The main table as in a paper."""
    frame = main_table(tables).drop(columns="config_name")
    kinds = {name: kind for name in frame.columns if (kind := column_kind(name))}
    write_html_table(
        path, frame, title="Main table", caption="Quality against experts.", kinds=kinds, **options
    )


def write_speed_table(path: str | Path, speeds: list[dict[str, Any]], **options: Any) -> None:
    """Prefill and decode speed of each model, as measured; the untouched model's after its configurations'."""
    rows = [
        {**row, "config": row["config"] or "untouched"}
        for speed in speeds
        for row in [*speed["rows"], *speed["untouched"]]
    ]
    devices = " and ".join(sorted({speed["device"] for speed in speeds}))
    kinds = {
        "tokens_per_second": "speed",
        "rounds": "count",
        "prefill_tokens": "count",
        "decoded_tokens": "count",
    }
    kinds |= {name: "ms" for name in rows[0] if "latency" in name}
    caption = (
        f"Measured on: {devices}. Decoding is at batch size 1; median, 95th and 99th percentile. Untouched is the "
        "model without any rule, its experts run by transformers; batched_mm copies the weights of every chosen "
        "expert, so that a large prefill does not run with it."
    )
    write_html_table(path, pd.DataFrame(rows), title="Speed", caption=caption, kinds=kinds, **options)


def write_null_summary(path: str | Path, summary: pd.DataFrame, **options: Any) -> None:
    """Uniformity of the nulls and what BH would reject."""
    kinds = {
        "alpha": "experts",
        "kolmogorov_distance": "plain",
        "no_rejection_share": "share",
        "expected_no_rejection": "share",
        "mean_rejections": "experts",
        "floor_share": "share",
        "cap_share": "share",
    }
    caption = (
        "On text that the nulls were not fitted on; rejections before any clamping. With uniform, independent p-values "
        "1 - alpha of the tokens have no rejection (expected_no_rejection). floor_share: at most one rejection, where "
        "a floor of one decides; cap_share: at least as many as the trained top-k."
    )
    write_html_table(path, summary, title="Null distributions", caption=caption, kinds=kinds, **options)


def write_models(path: str | Path, assessments: list[dict[str, Any]], **options: Any) -> None:
    """How good the untouched models are, and how evenly they use their experts."""
    rows = [
        {"model": one["model"], "dataset": name, **found, **_balance(one["layers"])}
        for one in assessments
        for name, found in one["datasets"].items()
    ]
    kinds = {"samples": "count", "perplexity": "perplexity", "accuracy": "share", "standard_error": "share"}
    kinds |= {"chance": "share", "fewest_experts_used": "count", "busiest_over_even": "experts"}
    caption = "Untouched models. Chance is always the passage's most frequent word, or one over the number of options."
    write_html_table(path, pd.DataFrame(rows), title="Models", caption=caption, kinds=kinds, **options)


def _balance(layers: list[dict[str, float]]) -> dict[str, float]:
    """The worst layer: fewest experts used, largest share of one expert over the even share."""
    return {
        "fewest_experts_used": min(layer["experts_used"] for layer in layers),
        "busiest_over_even": max(layer["busiest_over_even"] for layer in layers),
    }
