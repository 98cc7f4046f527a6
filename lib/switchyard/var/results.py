"""The results of VAR's evaluation on one model: what each configuration costs and gains on each set of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from switchyard.var.comparison import criteria, judged, pooled, quality, speed

BASELINE = "baseline"

Runs = Mapping[tuple[str, str], Sequence[dict[str, Any]]]
"""Result JSONs by (configuration, dataset), one per seed."""


def compare(runs: Runs, timings: Mapping[str, Mapping[str, Sequence[float]]] | None) -> list[dict[str, Any]]:
    """Every configuration against the untouched model on every dataset, in the order of `runs`.

    Args:
        runs: with those of `baseline`.
        timings: by configuration what `switchyard.evaluation.speed.per_round` gives; None where speed was not measured
            side by side.
    """
    found = []
    for (name, dataset), own in runs.items():
        if name == BASELINE:
            continue
        before = runs[BASELINE, dataset]
        found.append(
            {
                "name": name,
                "dataset": dataset,
                "kind": "text" if own[0]["evaluation"]["accuracy"] is None else "task",
                "seeds": [run["seed"] for run in own],
                "quality": quality(before, own),
                "throughput": {"baseline": _tokens_per_second(before), "var": _tokens_per_second(own)},
                "speed": timings and _speed(timings[BASELINE], timings[name]),
                "var_stats": stats_of(own),
                "cache_simulation": own[0].get("cache_simulation"),
                "memory": {
                    key: max(run["memory"][key] for run in own) for key in ("var_bytes", "peak_bytes")
                },
            }
        )
    for one in judged(found):
        one["criteria"] = [line._asdict() for line in criteria(one)] if one["kind"] == "text" else []
    return found


def stats_of(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The routing statistics of several runs together: means of their shares, sums of their calls."""
    every = [run["var_stats"] for run in runs]
    return {
        "overall": _mean_shares([one["overall"] for one in every]),
        "per_layer": {
            layer: _mean_shares([one["per_layer"][layer] for one in every]) for layer in every[0]["per_layer"]
        },
    }


def result(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Runs of one configuration and dataset as one result, in the schema of a single one, without its samples."""
    first = runs[0]
    return {
        **{key: first[key] for key in ("mode", "name", "model_name", "dataset_name", "var_config")},
        "seeds": [run["seed"] for run in runs],
        "evaluation": pooled(runs),
        "throughput": {
            "total_tokens": sum(run["throughput"]["total_tokens"] for run in runs),
            "elapsed_seconds": sum(run["throughput"]["elapsed_seconds"] for run in runs),
            "tokens_per_second": _tokens_per_second(runs),
        },
        "var_stats": stats_of(runs) if first["var_stats"] else None,
    }


def table(comparisons: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per configuration and dataset, with every number that a reader compares."""
    return pd.DataFrame([_row(one) for one in comparisons])


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    loss, shares = one["quality"]["loss"], one["var_stats"]["overall"]
    accuracy = one["quality"]["accuracy"] or {"baseline": None, "var": None, "mcnemar_p": None}
    measured = one["speed"] or {}
    timed = {
        f"{what}_{key}": measured.get(what, {}).get(key)
        for what in ("prefill", "latency_p50", "latency_p95")
        for key in ("ratio", "p")
    }
    return {
        "config": one["name"],
        "dataset": one["dataset"],
        "samples": one["quality"]["samples"],
        "loss_baseline": loss["baseline"],
        "loss_var": loss["var"],
        "loss_difference": loss["difference"],
        "loss_low": loss["interval"][0],
        "loss_high": loss["interval"][1],
        "perplexity_change": one["quality"]["perplexity_change"],
        **{key: loss[key] for key in ("bootstrap_p", "p_holm", "t_p", "wilcoxon_p", "cohens_d")},
        "accuracy_baseline": accuracy["baseline"],
        "accuracy_var": accuracy["var"],
        "mcnemar_p": accuracy["mcnemar_p"],
        **timed,
        **{f"{path}_percent": share for path, share in shares["routing_distribution"].items()},
        "cache_hit_rate_percent": shares["cache_hit_rate"],
        "total_calls": shares["total_calls"],
        "var_bytes": one["memory"]["var_bytes"],
    }


def _speed(baseline: Mapping[str, Sequence[float]], own: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    names = {
        "prefill": "prefill_seconds",
        "latency_p50": "decode_p50_ms",
        "latency_p95": "decode_p95_ms",
        "latency_p99": "decode_p99_ms",
    }
    return {name: speed(baseline[column], own[column]) for name, column in names.items()}


def _tokens_per_second(runs: Sequence[dict[str, Any]]) -> float:
    """The median over the seeds."""
    return float(np.median([run["throughput"]["tokens_per_second"] for run in runs]))


def _mean_shares(every: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = every[0]["routing_distribution"]
    return {
        "routing_distribution": {
            name: float(np.mean([one["routing_distribution"][name] for one in every])) for name in names
        },
        "cache_hit_rate": float(np.mean([one["cache_hit_rate"] for one in every])),
        "total_calls": sum(one["total_calls"] for one in every),
    }
