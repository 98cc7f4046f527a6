"""The study's tables and texts as self-contained pages."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
from markdown_it import MarkdownIt

from switchyard.charts.tables import Tables
from switchyard.files import write_text
from switchyard.reporting.paper import column_kind, main_table
from switchyard.reporting.tables import STYLE, write_html_table

METRIC_KINDS = {
    "perplexity": "perplexity",
    "avg_task_accuracy": "share",
    "expert_activation_ratio": "share",
    "flops_reduction_pct": "percent",
    "tokens_per_second": "speed",
    "latency_ms_per_token": "ms",
    "expert_utilization": "share",
    "gini_coefficient": "plain",
    "adaptive_range": "count",
    "selection_entropy": "nats",
    "ceiling_hit_rate": "share",
    "floor_hit_rate": "share",
    "layer_expert_variance": "nats",
    "layer_consistency_score": "plain",
    "expert_overlap_score": "share",
    "output_determinism": "share",
    "k_or_max_k": "count",
    "avg_experts": "experts",
    "std_experts": "experts",
    "min_experts": "count",
    "max_experts": "count",
    "reduction_vs_baseline": "percent",
    "avg_loss": "nats",
}
"""Number format of each column of the results tables."""

PROSE_STYLE = """
body { max-width: 60rem; } h1, h2 { line-height: 1.2; } h2 { margin-top: 2rem; } pre { overflow-x: auto; }
table { margin: 1rem 0; }
"""


def write_document(path: str | Path, markdown: str, *, title: str, stamp: dict | None = None) -> None:
    """Write Markdown as a page of its own."""
    body = MarkdownIt("commonmark").enable("table").render(markdown)
    note = orjson.dumps(stamp or {}, option=orjson.OPT_SORT_KEYS).decode().replace("</", "<\\/")
    write_text(
        path,
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f'<script type="application/json" id="switchyard">{note}</script>\n<style>{STYLE}{PROSE_STYLE}</style>\n'
        f"</head>\n<body>\n{body}</body>\n</html>\n",
    )


def write_results(path: str | Path, tables: Tables, **options: Any) -> None:
    """All experiments with their metrics."""
    caption = "One row per configuration and dataset; a dash is a measure that is not defined there."
    write_html_table(
        path, tables.results, title="All experiments", caption=caption, kinds=METRIC_KINDS, **options
    )


def write_configs(path: str | Path, configs: pd.DataFrame, **options: Any) -> None:
    """All configurations, means over datasets."""
    caption = "Accuracy is the mean over the datasets that have one, perplexity that of the texts."
    write_html_table(path, configs, title="Configurations", caption=caption, kinds=METRIC_KINDS, **options)


def write_main_table(path: str | Path, tables: Tables, **options: Any) -> None:
    """The main table as in a paper."""
    frame = main_table(tables).drop(columns="config_name")
    kinds = {name: kind for name in frame.columns if (kind := column_kind(name))}
    write_html_table(
        path, frame, title="Main table", caption="Quality against experts.", kinds=kinds, **options
    )


def write_speed_table(path: str | Path, speed: dict[str, Any], **options: Any) -> None:
    """Prefill and decode speed, as measured."""
    kinds = {
        "tokens_per_second": "speed",
        "rounds": "count",
        "prefill_tokens": "count",
        "decoded_tokens": "count",
    }
    kinds |= {name: "ms" for name in speed["rows"][0] if "latency" in name}
    caption = (
        f"Measured on: {speed['device']}. Decoding is at batch size 1; median, 95th and 99th percentile."
    )
    write_html_table(
        path, pd.DataFrame(speed["rows"]), title="Speed", caption=caption, kinds=kinds, **options
    )


def write_null_summary(path: str | Path, summary: pd.DataFrame, **options: Any) -> None:
    """Uniformity of the nulls and what BH would reject."""
    kinds = {
        "alpha": "experts",
        "kolmogorov_distance": "plain",
        "no_rejection_share": "share",
        "mean_rejections": "experts",
    }
    caption = "On text that the nulls were not fitted on; with a right null 1 - alpha of the tokens have no rejection."
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
