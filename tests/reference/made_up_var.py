"""What VAR's stage writes about a model, with numbers that are true of nothing."""

from __future__ import annotations

from typing import Any

import pandas as pd

from switchyard.var.comparison import criteria

CONFIGS = ("conservative", "balanced", "custom")
DATASETS = ("tuning", "tuning-cloze")


def comparison(
    name: str, dataset: str, *, fast: float, cached: float = 0.0, change: float, timed: bool
) -> dict:
    """One entry of `comparison.json`; `fast` and `cached` in percent."""
    shares = {"fast": fast, "cached": cached, "learned": 100 - fast - cached}
    overall = {"routing_distribution": shares, "cache_hit_rate": 0.0, "total_calls": 1000}
    is_text = dataset == "tuning"
    loss = {
        "baseline": 2.0,
        "var": 2.0 + change,
        "difference": change,
        "interval": [change - 0.01, change + 0.01],
    }
    loss |= {"bootstrap_p": 0.001, "p_holm": 0.008 if change else 1.0, "significant": bool(change)}
    ratio = {"rounds": 7, "ratio": 1.3, "interval": [1.1, 1.5], "p": 0.01}
    measures = ("prefill", "latency_p50", "latency_p95", "latency_p99")
    one: dict[str, Any] = {
        "name": name,
        "dataset": dataset,
        "kind": "text" if is_text else "task",
        "seeds": [0],
        "quality": {
            "samples": 40,
            "loss": loss,
            "perplexity_change": change,
            "perplexity_change_interval": [change - 0.01, change + 0.01],
            "accuracy": None
            if is_text
            else {"baseline": 0.5, "var": 0.4, "difference": -0.1, "mcnemar_p": 0.5},
        },
        "throughput": {"baseline": 100.0, "var": 120.0},
        "speed": dict.fromkeys(measures, ratio) if timed else None,
        "var_stats": {"overall": overall, "per_layer": {"0": overall}},
        "memory": {"var_bytes": 8, "peak_bytes": 1000},
    }
    return {**one, "criteria": [line._asdict() for line in criteria(one)] if is_text else []}


def comparisons(*, idle: tuple[str, ...] = ("conservative", "balanced"), timed: bool = True) -> list[dict]:
    """All configurations on both sets; those that are `idle` never look anything up."""
    return [
        comparison(name, dataset, timed=timed, fast=0.0, change=0.0)
        if name in idle
        else comparison(name, dataset, timed=timed, fast=30.0, cached=5.0, change=0.125)
        for name in CONFIGS
        for dataset in DATASETS
    ]


def row(kind: str, **own: Any) -> dict[str, Any]:
    """A row of `sweep.parquet`."""
    blank = dict.fromkeys(("quantile", "frequency_threshold", "entropy_threshold", "confidence_threshold"))
    blank |= dict.fromkeys(("context_window_size", "fast_path_experts", "route_weights", "static_k"))
    found = {"kind": kind, **blank, "fast": 0.0, "cached": 0.0, "mean_experts": 2.0, "flops_ratio": 1.0}
    found |= {
        "loss_difference": 0.0,
        "verdict": "not distinguishable",
        "p_holm": None,
        "static_verdict": None,
        **own,
    }
    found["coverage"] = found["fast"] + found["cached"]
    margin = 0.001 if found["loss_difference"] else 0.0
    return {
        **found,
        "learned": 1 - found["coverage"],
        "loss_low": found["loss_difference"] - margin,
        "loss_high": found["loss_difference"] + margin,
    }


def sweep(*, acts: bool = True) -> pd.DataFrame:
    """Two thresholds, both weights, one and two experts, a cache and the controls; a top-2 model."""
    rows = [row("untouched")]
    for place, (entropy, covered) in enumerate([(1.25, 0.1), (2.0, 0.9)]):
        for used in (2, 1):
            for weights, extra in (("table", 0.25), ("live", 0.0)):
                fast = covered if acts else 0.0
                own = {"quantile": (0.1, 1.0)[place], "frequency_threshold": 50, "entropy_threshold": entropy}
                own |= {"fast_path_experts": used, "route_weights": weights, "fast": fast}
                own |= {"mean_experts": 2 - fast * (2 - used), "flops_ratio": 1 - 0.3 * fast * (2 - used)}
                own["flops_ratio"] -= 0.02 * fast * (weights == "table")
                loss = fast * (0.5 + extra + (2 - used))
                own |= {"loss_difference": loss, "verdict": "worse" if loss > 0.1 else "not distinguishable"}
                own |= {"p_holm": 0.01, "static_k": 1, "static_verdict": "worse" if fast > 0.5 else "better"}
                rows.append(row("fast_path", **own))
    for window, cached in ((4, 0.02), (0, 0.4)):
        for weights in ("table", "live"):
            own = {"quantile": 0.0, "confidence_threshold": 0.0, "context_window_size": window}
            own |= {"route_weights": weights, "cached": cached, "loss_difference": cached / 4, "p_holm": 0.5}
            rows.append(row("cache", **own))
    rows += [
        row("static", mean_experts=k, flops_ratio=0.4 + 0.3 * k, loss_difference=0.2 * (2 - k))
        for k in (1, 2)
    ]
    for used in (2, 1):
        own = {"fast": 1.0, "fast_path_experts": used, "route_weights": "live", "mean_experts": float(used)}
        rows.append(row("no_key", **own, loss_difference=3.6, verdict="worse", flops_ratio=0.4 + 0.3 * used))
    return pd.DataFrame(rows)


def ceiling(*, held_out: bool = True) -> dict[str, Any]:
    """`ceiling.json` of two layers."""
    layers = [
        {
            "layer": layer,
            "global": {"leave_one_domain_out": 0.25 if held_out else None},
            "token": {"leave_one_domain_out": 0.5 + 0.25 * layer if held_out else None},
        }
        for layer in (0, 1)
    ]
    return {"model": "made-up", "chance": 0.2, "layers": layers}


def context(*, held_out: bool = True) -> pd.DataFrame:
    """`context.parquet` of two layers and one previous token."""
    share = [0.6, 0.8] if held_out else [None, None]
    return pd.DataFrame({"layer": [0, 1], "context": [1, 1], "leave_one_domain_out_context": share})
