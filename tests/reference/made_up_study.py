"""Made-up aggregate tables for tests of figures and reports: plausible in shape, true of nothing, never shipped.

`outcome` says what the story is: `loses` (few experts hurt, as a score-only rule on a pooled null does), `wins`
(every BH configuration is better than the trained top-k with fewer experts), `tied` (all the same).
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

CAPS = (8, 16, 32, 64)
ALPHAS = (0.3, 0.4, 0.5, 0.6)
DATASETS = {"held_out_text": 18.3, "cloze": 27.0, "choice": 31.0}
ACCURACY = {"cloze": 0.17, "choice": 0.41}


def tables(
    outcome: str = "loses", *, caps=CAPS, alphas=ALPHAS, datasets=tuple(DATASETS), layers: int = 4
) -> dict:
    """Frames by the names of `switchyard.charts.tables.Tables`."""
    rows = [_row(config, dataset, outcome) for dataset in datasets for config in _configs(caps, alphas)]
    results = pd.DataFrame(rows)
    results["alpha"] = results["alpha"].astype(float)
    return {
        "results": results,
        "overall": _overall(results),
        "layers": _layers(results, layers),
        "usage": _usage(results, layers),
        "counts": _counts(results),
        "differences": _differences(results, outcome),
    }


def null_check(layers: int = 4) -> pd.DataFrame:
    """p-value histograms in 20 bins for nine nulls."""
    names = [
        "pooled",
        "epanechnikov",
        "tophat",
        "linear",
        "trimmed_2",
        "trimmed_4",
        "trimmed_8",
        "unselected",
        "empirical",
    ]
    left = np.arange(20) / 20
    rows = []
    for place, null in enumerate(names):
        for layer in range(layers):
            density = 1 + (0.9 + 0.15 * place) * np.exp(-left * 9) + 0.05 * np.sin(9 * left + layer)
            share = density / density.sum()
            rows += [(null, layer, edge, edge + 0.05, part) for edge, part in zip(left, share, strict=True)]
    return pd.DataFrame(rows, columns=["null", "layer", "bin_left", "bin_right", "share"])


def _configs(caps, alphas):
    static = [(f"{cap}experts_topk_baseline", "topk", cap, None) for cap in caps]
    return static + [(f"{cap}experts_bh_a{round(100 * a):03d}", "bh", cap, a) for cap in caps for a in alphas]


def _row(config, dataset, outcome):
    name, kind, cap, alpha = config
    experts = (
        float(cap)
        if alpha is None
        else min(cap, {0.3: 1.3, 0.4: 1.8, 0.5: 2.7, 0.6: 4.2}[alpha] * (cap / 8) ** 0.12)
    )
    penalty = {
        "loses": 0.9 * math.exp(-0.55 * experts) + 0.004 * max(0, math.log2(experts / 8)),
        "wins": -0.02 * (alpha is not None) + 0.004 * max(0, math.log2(experts / 8)),
        "tied": 0.0,
    }[outcome]
    experts *= 1.0 if alpha is None else {"cloze": 1.08, "choice": 0.94}.get(dataset, 1.0)
    experts = min(experts, cap)
    share = 1.0 if alpha is None else 0.06 * alpha * 8 / cap
    accuracy = ACCURACY.get(dataset)
    return {
        "config_name": name,
        "routing_type": kind,
        "k_or_max_k": cap,
        "alpha": alpha,
        "dataset": dataset,
        "perplexity": DATASETS[dataset] * math.exp(penalty),
        "avg_task_accuracy": None if accuracy is None else accuracy * math.exp(-penalty),
        "expert_activation_ratio": experts / cap,
        "flops_reduction_pct": 100 * 0.6 * (8 - experts) / 64 / (0.6 / 8 + 0.4),
        "tokens_per_second": 9000 / (1 + experts / 8),
        "latency_ms_per_token": 2.1 + experts / 8,
        "expert_utilization": 1 - 0.02 / experts,
        "gini_coefficient": 0.45 / experts**0.4,
        "adaptive_range": 0 if alpha is None else cap - 1,
        "selection_entropy": 0.0 if alpha is None else 1.1,
        "ceiling_hit_rate": share,
        "floor_hit_rate": 0.0 if alpha is None else 1 - alpha - share,
        "layer_expert_variance": 0.0 if alpha is None else 0.4,
        "layer_consistency_score": None if alpha is None else 0.21,
        "expert_overlap_score": 1.0,
        "output_determinism": 1.0,
        "avg_experts": experts,
        "std_experts": 0.0 if alpha is None else 1.9,
        "min_experts": cap if alpha is None else 1,
        "max_experts": cap,
        "reduction_vs_baseline": 100 * (8 - experts) / 8,
        "avg_loss": 3.0 + penalty,
    }


def _layers(results, layers):
    rows = []
    for row in results.itertuples():
        for layer in range(layers):
            tilt = 1.0 if row.routing_type == "topk" else 1 + 0.3 * math.sin(1 + 2 * layer)
            rows.append(
                (
                    row.config_name,
                    row.dataset,
                    layer,
                    max(1.0, min(row.k_or_max_k, row.avg_experts * tilt)),
                    0.5,
                    0.3,
                    0.1,
                    0.98,
                    0.3,
                )
            )
    columns = "config_name dataset layer mean_count std_count floor_rate ceiling_rate utilization gini"
    return pd.DataFrame(rows, columns=columns.split())


def _usage(results, layers):
    rows = [
        (r.config_name, r.dataset, layer, e, 100 + e)
        for r in results.itertuples()
        for layer in range(layers)
        for e in range(4)
    ]
    return pd.DataFrame(rows, columns=["config_name", "dataset", "layer", "expert", "uses"])


def _counts(results):
    rows = [(r.config_name, r.dataset, count, 500) for r in results.itertuples() for count in (1, 2)]
    return pd.DataFrame(rows, columns=["config_name", "dataset", "count", "tokens"])


def _differences(results, outcome):
    against = f"{results['k_or_max_k'].min()}experts_topk_baseline"
    base = results[results["config_name"] == against].set_index("dataset")["perplexity"]
    rows = []
    for row in results.itertuples():
        gap = math.log(row.perplexity / base[row.dataset])
        if row.config_name == against:
            continue
        width = 0.01 + 0.1 * abs(gap)
        answer = None if row.avg_task_accuracy is None else row.avg_task_accuracy * (1 - math.exp(gap))
        rows.append(
            (
                row.config_name,
                row.dataset,
                against,
                100,
                gap,
                gap - width,
                gap + width,
                answer,
                answer and answer - 0.02,
                answer and answer + 0.02,
                None if answer is None else 0.5,
            )
        )
    columns = (
        "config_name dataset against samples loss_difference loss_difference_low loss_difference_high "
        "accuracy_difference accuracy_difference_low accuracy_difference_high mcnemar_p"
    )
    return pd.DataFrame(rows, columns=columns.split())


def _overall(results):
    columns = [
        "avg_experts",
        "flops_reduction_pct",
        "floor_hit_rate",
        "ceiling_hit_rate",
        "tokens_per_second",
    ]
    frame = (
        results.groupby("config_name", sort=False)[[*columns, "latency_ms_per_token"]].mean().reset_index()
    )
    return frame.assign(flops_reduction_exact_pct=0.5 * frame["flops_reduction_pct"])
