"""The tables of the paper: unrounded frames, each with the number format of its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from switchyard.reporting.numbers import COLUMN_KINDS

RANKS = ((1, 100), (101, 1000), (1001, 10_000), (10_001, None))
"""First and last rank of the bins of token ids, the most frequent first."""
COST_METRICS = {
    "perplexity": "perplexity",
    "avg_task_accuracy": "accuracy",
    "expert_activation_ratio": "activation",
    "flops_reduction_pct": "FLOPs saved",
    "tokens_per_second": "tokens/s",
    "latency_ms_per_token": "ms/token",
    "expert_utilization": "utilization",
    "gini_coefficient": "Gini",
}
ROUTING_METRICS = {
    "adaptive_range": "range",
    "selection_entropy": "selection entropy",
    "ceiling_hit_rate": "ceiling",
    "floor_hit_rate": "floor",
    "layer_expert_variance": "layer variance",
    "layer_consistency_score": "layer consistency",
    "expert_overlap_score": "overlap",
    "output_determinism": "determinism",
}
"""Of the sixteen metrics, what each is called in a head."""


class PaperTable(NamedTuple):
    """A table and how its numbers are printed."""

    frame: pd.DataFrame
    kinds: dict[str, str]
    """Column -> format of `switchyard.reporting.numbers.FORMATS`."""


def routing_by_frequency(stats: Mapping[str, pd.DataFrame], thresholds: Mapping[str, float]) -> PaperTable:
    """Entropy and consistency of the router by frequency of the token id; mean and standard deviation over rows.

    Args:
        stats: model -> `routing_stats.parquet`, a row for each layer and token id.
        thresholds: `frequency_threshold` and `entropy_threshold` (nats) of the fast path.
    """
    rows = []
    for model, frame in stats.items():
        rank = frame.groupby("token_id")["frequency"].sum().rank(method="first", ascending=False)
        own = frame.assign(rank=frame["token_id"].map(rank))
        for first, last in RANKS:
            part = own[own["rank"].between(first, last or np.inf)]
            if len(part):
                rows.append(
                    {"model": model, "token ids by rank": _ranks(first, last), **_routing(part, thresholds)}
                )
    names = ("mean entropy", "s.d. of entropy", "mean consistency", "s.d. of consistency")
    kinds = {"token ids": "count", **dict.fromkeys(names, "plain"), "eligible": "share"}
    return PaperTable(pd.DataFrame(rows), kinds)


def _ranks(first: int, last: int | None) -> str:
    if first == 1:
        return f"top {last:,}"
    return f"{first:,} to {last:,}" if last else f"from {first:,}"


def _routing(part: pd.DataFrame, thresholds: Mapping[str, float]) -> dict[str, float]:
    eligible = (part["frequency"] >= thresholds["frequency_threshold"]) & (
        part["mean_entropy"] < thresholds["entropy_threshold"]
    )
    return {
        "token ids": part["token_id"].nunique(),
        "mean entropy": part["mean_entropy"].mean(),
        "s.d. of entropy": part["mean_entropy"].std(ddof=0),
        "mean consistency": part["routing_consistency"].mean(),
        "s.d. of consistency": part["routing_consistency"].std(ddof=0),
        "eligible": eligible.mean(),
    }


def downstream(comparisons: Mapping[str, Sequence[Mapping[str, Any]]]) -> PaperTable:
    """Loss and accuracy of the untouched model and of VAR; p-values after Holm's correction.

    Args:
        comparisons: model -> `comparisons` of `comparison.json`.
    """
    rows = []
    for model, found in comparisons.items():
        for one in found:
            loss, accuracy = one["quality"]["loss"], one["quality"]["accuracy"] or {}
            low, high = loss["interval"]
            rows.append(
                {
                    "model": model,
                    "configuration": one["name"],
                    "dataset": one["dataset"],
                    "loss": loss["baseline"],
                    "loss with VAR": loss["var"],
                    "difference": loss["difference"],
                    "from": low,
                    "to": high,
                    "p": loss["p_holm"],
                    "accuracy": accuracy.get("baseline"),
                    "accuracy with VAR": accuracy.get("var"),
                }
            )
    kinds = dict.fromkeys(("loss", "loss with VAR"), "nats") | dict.fromkeys(
        ("difference", "from", "to"), "nats_change"
    )
    return PaperTable(
        pd.DataFrame(rows), kinds | {"p": "p", "accuracy": "share", "accuracy with VAR": "share"}
    )


def performance(
    speeds: Mapping[str, Mapping[str, Any]], comparisons: Mapping[str, Sequence[Mapping[str, Any]]]
) -> PaperTable:
    """Prefill throughput and decode latency, medians over interleaved rounds; the untouched model is `baseline`.

    Args:
        speeds: model -> `speed.json` of the stage var.
        comparisons: model -> `comparisons` of `comparison.json`, for the paired ratios.
    """
    rows = []
    for model, speed in speeds.items():
        paired = {one["name"]: one["speed"] for one in comparisons[model] if one["speed"]}
        base = np.median(speed["timings"]["baseline"]["prefill_seconds"])
        for name, timed in speed["timings"].items():
            ratio = (
                {"prefill": {"ratio": 1.0, "interval": [None, None]}}
                if name == "baseline"
                else paired.get(name)
            )
            if ratio is None:
                continue
            low, high = ratio["prefill"]["interval"]
            rows.append(
                {
                    "model": model,
                    "configuration": name,
                    "prefill time, baseline = 1": float(np.median(timed["prefill_seconds"]) / base),
                    "speed-up": ratio["prefill"]["ratio"],
                    "from": low,
                    "to": high,
                    "P50 (ms)": float(np.median(timed["decode_p50_ms"])),
                    "P95 (ms)": float(np.median(timed["decode_p95_ms"])),
                    "P99 (ms)": float(np.median(timed["decode_p99_ms"])),
                }
            )
    frame = pd.DataFrame(rows)
    kinds = {name: "ms" if "(ms)" in name else "ratio" for name in frame.columns[2:]}
    return PaperTable(frame, kinds)


def metrics(
    overall: pd.DataFrame, labels: Mapping[tuple[str, str], str], heads: Mapping[str, str]
) -> PaperTable:
    """Metrics of every configuration, means over datasets.

    Args:
        overall: `bh_routing_configs.parquet`.
        labels: (model, configuration) -> what a reader calls it.
        heads: the metrics, `COST_METRICS` or `ROUTING_METRICS`.
    """
    names = [labels[pair] for pair in zip(overall["model"], overall["config_name"], strict=True)]
    frame = overall[["model", *heads]].rename(columns=heads)
    frame.insert(1, "configuration", names)
    return PaperTable(frame, {head: COLUMN_KINDS[name] for name, head in heads.items()})


def verdicts(findings: pd.DataFrame) -> PaperTable:
    """Verdicts at equal compute by set of configurations; `findings` is `findings.csv`."""
    rows = findings[(findings["level"] == "set") & (findings["loss_comparisons"] > 0)]
    columns = {
        "model": "model",
        "set_name": "set",
        "matched_configurations": "configurations",
        "loss_comparisons": "comparisons",
        "loss_better": "better",
        "loss_worse": "worse",
        "loss_undecided": "not distinguishable",
    }
    return PaperTable(
        rows[list(columns)].rename(columns=columns), dict.fromkeys(list(columns.values())[2:], "count")
    )


def ablation(tables: Mapping[str, pd.DataFrame]) -> PaperTable:
    """Components of VAR and of BH switched off in turn; `tables` are `ablation.parquet` by model."""
    rows = _of_models(tables)
    rows["component"] = rows["component"].replace("none", "(the whole rule)")
    columns = {
        "model": "model",
        "config": "configuration",
        "component": "without",
        "change": "instead",
        "loss": "loss",
        "loss_difference": "difference",
        "loss_low": "from",
        "loss_high": "to",
        "p_holm": "p",
        "verdict": "verdict",
        "mean_experts": "experts",
        "flops_ratio": "products",
    }
    kinds = {"loss": "nats", **dict.fromkeys(("difference", "from", "to"), "nats_change"), "p": "p"}
    kinds |= {"experts": "experts", "products": "gap"}
    return PaperTable(rows[list(columns)].rename(columns=columns), kinds)


def sensitivity(tables: Mapping[str, pd.DataFrame]) -> PaperTable:
    """By dimension of a search: how far speed-up and perplexity change over it; `tables` are `sensitivity.parquet`.

    A change is the highest minus the lowest mean of the fitted process over the dimension's values, the other
    dimensions averaged out; beside it the largest standard deviation of that mean.
    """
    keys = ["model", "space", "dimension", "column"]
    grouped = _of_models(tables).groupby(keys, sort=False)
    found = pd.DataFrame(
        {"change": grouped["mean"].max() - grouped["mean"].min(), "s.d.": grouped["std"].max()}
    )
    wide = found.unstack("column")
    measures = {"speed": "speed-up", "degradation": "perplexity"}
    frame = pd.DataFrame(
        {f"{kind} of {words}": wide[kind, column] for column, words in measures.items() for kind in found}
    )
    return PaperTable(frame.reset_index(), dict.fromkeys(frame.columns, "degradation"))


def _of_models(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([one.assign(model=model) for model, one in tables.items()], ignore_index=True)


def league(findings: pd.DataFrame) -> PaperTable:
    """Every configuration of the study, the best first: mean loss difference against its compute-matched baseline."""
    rows = findings[(findings["level"] == "configuration") & (findings["loss_comparisons"] > 0)]
    experiments = findings[findings["level"] == "experiment"]
    means = experiments.groupby(["model", "config_name"])["loss_difference"].mean().rename("mean_difference")
    rows = rows.merge(means, on=["model", "config_name"]).rename(
        columns={"mean_difference_y": "mean_difference"}
    )
    rows = rows.sort_values(["model_order", "mean_difference"], kind="stable")
    columns = {
        "model": "model",
        "label": "configuration",
        "mean_experts": "experts",
        "mean_difference": "mean loss difference",
        "loss_better": "better",
        "loss_worse": "worse",
        "loss_undecided": "not distinguishable",
        "mixed_speed_ratio": "prefill speed, baseline = 1",
    }
    kinds = {
        "experts": "experts",
        "mean loss difference": "nats_change",
        **dict.fromkeys(("better", "worse", "not distinguishable"), "count"),
        "prefill speed, baseline = 1": "ratio",
    }
    return PaperTable(rows[list(columns)].rename(columns=columns), kinds)
