"""Made-up aggregate tables for tests of figures and reports: plausible in shape, true of nothing, never shipped.

`outcome` says what the story is: `loses` (few experts hurt, as a score-only rule on a pooled null does), `wins`
(every BH configuration is better than the trained top-k with fewer experts), `tied` (all the same), `varied` (as
`loses`, with verdicts of every kind). `controls` adds static top-k below the trained k, BH at given budgets, and the
mixed static k that every BH configuration is matched with, so that the comparison at equal compute has rows.
`others` adds the rules that are not BH and random partners, `factors` is the grid of nulls and weightings alone.
"""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd

CAPS = (8, 16, 32, 64)
ALPHAS = (0.3, 0.4, 0.5, 0.6)
DATASETS = {"held_out_text": 18.3, "cloze": 27.0, "choice": 31.0}
ACCURACY = {"cloze": 0.17, "choice": 0.41}


def tables(
    outcome: str = "loses",
    *,
    caps=CAPS,
    alphas=ALPHAS,
    datasets=tuple(DATASETS),
    layers: int = 4,
    controls: bool = False,
    others: bool = False,
    factors: bool = False,
    model: str = "pocket-olmoe",
) -> dict:
    """Frames by the names of `switchyard.warehouse.study_tables.Tables`."""
    if factors:
        configs = _factors(alphas)
    else:
        configs = _configs(caps, alphas) + (_controls(caps, alphas) if controls else [])
        configs += _others() if others else []
    rows = [_row(config, dataset, outcome) for dataset in datasets for config in configs]
    results = pd.DataFrame(rows)
    results["alpha"] = results["alpha"].astype(float)
    frames = {
        "results": results,
        "overall": _overall(results),
        "layers": _layers(results, layers),
        "usage": _usage(results, layers),
        "counts": _counts(results),
        "differences": _differences(results, outcome),
        "configurations": _configurations(configs),
        "equal_compute": _equal_compute(results, outcome),
    }
    for frame in frames.values():
        frame.insert(0, "model", model)
    return frames


def null_check(layers: int = 4) -> pd.DataFrame:
    """p-value histograms in 20 bins for nine nulls."""
    left = np.arange(20) / 20
    rows = []
    for place, null in enumerate(ALL_NULLS):
        for layer in range(layers):
            density = 1 + (0.9 + 0.15 * place) * np.exp(-left * 9) + 0.05 * np.sin(9 * left + layer)
            share = density / density.sum()
            rows += [(null, layer, edge, edge + 0.05, part) for edge, part in zip(left, share, strict=True)]
    return pd.DataFrame(rows, columns=["null", "layer", "bin_left", "bin_right", "share"])


TARGETS = (4, 5, 6, 7)
NULLS = ("pooled", "unselected")
ALL_NULLS = (
    "pooled",
    "epanechnikov",
    "tophat",
    "linear",
    "trimmed_2",
    "trimmed_4",
    "trimmed_8",
    "unselected",
    "empirical",
)
WEIGHTINGS = ("model", "sum_to_one", "trained_mass")
OTHERS = {
    "by": ("by_a", "BY α", (30, 60)),
    "higher_criticism": ("hc_g", "HC γ", (5, 10, 20)),
    "conformal": ("conformal_a", "conformal α", (30, 60)),
    "local_fdr": ("lfdr_a", "local fdr α", (30, 60)),
    "top_p": ("top_p_p", "top-p", (20, 40, 60)),
}


def _configs(caps, alphas):
    """(name, rule, cap, alpha, configuration it is matched with)."""
    static = [(f"{cap}experts_topk_baseline", "topk", cap, None, None) for cap in caps]
    return static + [(_bh_name(cap, a), "bh", cap, a, None) for cap in caps for a in alphas]


def _controls(caps, alphas):
    static = [(f"{k}experts_topk_baseline", "topk", k, None, None) for k in range(1, 8)]
    budget = [
        (_budget_name(target, null), "bh_budget", 8, 0.05 * target + 0.1 * (null == "pooled"), None)
        for null in NULLS
        for target in TARGETS
    ]
    tested = [(_bh_name(cap, a), cap) for cap in caps for a in alphas] + [(one[0], 8) for one in budget]
    return (
        static + budget + [(f"mixed_topk_as_{name}", "mixed_topk", cap, None, name) for name, cap in tested]
    )


def _others():
    adaptive = [
        (
            f"8experts_{part}{percent:03d}",
            rule,
            8,
            None if rule in ("higher_criticism", "top_p") else percent / 100,
            None,
        )
        for rule, (part, _, percents) in OTHERS.items()
        for percent in percents
    ]
    return adaptive + [
        (f"random_count_as_{name}", "random_count", cap, None, name) for name, _, cap, *_ in adaptive
    ]


def _factors(alphas):
    static = [(f"{k}experts_topk_baseline", "topk", k, None, None) for k in range(1, 9)]
    tested = [
        (_bh_name(8, alpha) + _suffix(null, "pooled") + _suffix(weighting, "model"), "bh", 8, alpha, None)
        for weighting in WEIGHTINGS
        for null in ALL_NULLS
        for alpha in alphas
    ]
    partners = [(f"mixed_topk_as_{name}", "mixed_topk", cap, None, name) for name, _, cap, *_ in tested]
    return static + tested + partners


def _suffix(value, usual):
    return "" if value == usual else f"_{value}"


def _null(name):
    return next((null for null in ALL_NULLS if f"_{null}" in name), "pooled")


def _weighting(name):
    return next((weighting for weighting in WEIGHTINGS if name.endswith(f"_{weighting}")), "model")


def _bh_name(cap, alpha):
    return f"{cap}experts_bh_a{round(100 * alpha):03d}"


def _budget_name(target, null):
    return f"8experts_bh_budget_k{target}" + ("" if null == "pooled" else f"_{null}")


def _label(name, rule, cap, alpha, matched):
    if rule == "topk":
        return f"top-{cap}"
    if matched:
        return f"{'mixed top-k' if rule == 'mixed_topk' else 'random count'} as {matched}"
    null, weighting = _null(name), _weighting(name)
    if rule == "bh":
        head = f"BH α {alpha:.2f}"
    elif rule == "bh_budget":
        head = f"BH to mean {_target(name)}"
    else:
        part, said, _ = OTHERS[rule]
        head = f"{said} {int(name.split(part)[1][:3]) / 100:.2f}"
    label = f"{head}, max {cap}" + ("" if null == "pooled" else f", {null} null")
    return label + ("" if weighting == "model" else f", {weighting}")


def _target(name):
    return re.search(r"_budget_k(\d+)", name).group(1)


def _configurations(configs):
    sets = {"topk": "static", "bh_budget": "budget", "mixed_topk": "mixed", "random_count": "random"}
    rows = [
        {
            "config_name": name,
            "set_name": sets.get(rule, rule),
            "routing_type": rule,
            "label": _label(name, rule, cap, alpha, matched),
            "k_or_max_k": cap,
            "min_k": cap if rule == "topk" else 1,
            "alpha": alpha,
            "target_k": float(name.split("_k")[1].split("_")[0]) if rule == "bh_budget" else None,
            "null_name": None if alpha is None else _null(name),
            "weighting": _weighting(name),
            "matched": matched,
        }
        for name, rule, cap, alpha, matched in configs
    ]
    return pd.DataFrame(rows)


def _equal_compute(results, outcome):
    """Every BH experiment against the mixed static k of its own budget; empty where there is none."""
    place = results.set_index(["config_name", "dataset"])
    rows = []
    for place_in_table, row in enumerate(results.itertuples()):
        against = f"mixed_topk_as_{row.config_name}"
        if (against, row.dataset) not in place.index:
            continue
        gap, p, verdict = _verdict(outcome, place_in_table)
        answered = row.avg_task_accuracy == row.avg_task_accuracy and row.avg_task_accuracy is not None
        rows.append(
            {
                "config_name": row.config_name,
                "dataset": row.dataset,
                "against": against,
                "samples": 100,
                "avg_experts": row.avg_experts,
                "against_avg_experts": place.loc[(against, row.dataset), "avg_experts"],
                "loss_difference": gap,
                "loss_difference_low": gap - 0.02,
                "loss_difference_high": gap + 0.02,
                "loss_p": p / 40,
                "loss_p_holm": min(1.0, p),
                "loss_verdict": verdict,
                "accuracy_difference": -gap / 4 if answered else None,
                "only_this_correct": 3.0 if answered else None,
                "only_against_correct": 5.0 if answered else None,
                "mcnemar_p": 0.73 if answered else None,
                "accuracy_p_holm": 1.0 if answered else None,
                "accuracy_verdict": "not distinguishable" if answered else None,
            }
        )
    columns = (
        "config_name dataset against samples avg_experts against_avg_experts loss_difference "
        "loss_difference_low loss_difference_high loss_p loss_p_holm loss_verdict accuracy_difference "
        "only_this_correct only_against_correct mcnemar_p accuracy_p_holm accuracy_verdict"
    )
    return pd.DataFrame(rows, columns=columns.split())


def _verdict(outcome, place):
    """Difference of loss, its p-value after Holm, and the verdict; `varied` runs through all of them."""
    if outcome == "varied":
        gap = round(0.09 * math.sin(1.7 * place), 3)
        found = abs(gap) > 0.03
        return gap, 0.0004 if found else 0.6, _side(gap) if found else "not distinguishable"
    gap = {"loses": 0.08, "wins": -0.08, "tied": 0.001}[outcome]
    return (gap, 0.6, "not distinguishable") if outcome == "tied" else (gap, 0.0004, _side(gap))


def _side(gap):
    return "worse" if gap > 0 else "better"


def _row(config, dataset, outcome):
    name, kind, cap, alpha, matched = config
    experts = _experts(name, kind, cap, alpha, matched)
    penalty = {
        "loses": 0.9 * math.exp(-0.55 * experts) + 0.004 * max(0, math.log2(experts / 8)),
        "wins": -0.02 * (alpha is not None) + 0.004 * max(0, math.log2(experts / 8)),
        "tied": 0.0,
    }["loses" if outcome == "varied" else outcome]
    experts *= 1.0 if kind == "topk" else {"cloze": 1.08, "choice": 0.94}.get(dataset, 1.0)
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


def _experts(name, kind, cap, alpha, matched):
    """Mean experts before the dataset has a say."""
    if kind == "topk":
        return float(cap)
    tested = matched or name
    if "_budget_k" in tested:
        return float(_target(tested))
    percent = int(re.search(r"_[aghp](\d{3})", tested).group(1))
    base = {30: 1.3, 40: 1.8, 50: 2.7, 60: 4.2}.get(percent, 1 + 0.04 * percent)
    return min(cap, base * (1 + 0.1 * ALL_NULLS.index(_null(tested))) * (cap / 8) ** 0.12)


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
    static = results[results["routing_type"] == "topk"]
    against = f"{8 if 8 in set(static['k_or_max_k']) else static['k_or_max_k'].min()}experts_topk_baseline"
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
