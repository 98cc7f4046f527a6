"""The sixteen metrics and their companions in plain NumPy: slow, obvious, and independent of the SQL.

A trace is a list of dicts (rows of the Parquet file), a scores table a list of dicts, an experiment its head.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

Rows = list[dict[str, Any]]


def place(row: dict[str, Any]) -> tuple[int, int, int, int]:
    return row["sample_id"], row["sequence"], row["layer"], row["position"]


def metrics(
    *, head: dict, trace: Rows, scores: Rows, trace_repeat: Rows, scores_repeat: Rows, speed: dict
) -> dict:
    """All sixteen, by name."""
    counts = np.array([row["count"] for row in trace], float)
    uses = usage(head, trace)
    return {
        "perplexity": math.exp(avg_loss(scores)),
        "avg_task_accuracy": task_accuracy(head["kind"], scores),
        "expert_activation_ratio": counts.mean() / head["k_or_max_k"],
        "flops_reduction_pct": flops_reduction(counts.mean(), head["trained_top_k"], head["num_experts"]),
        "tokens_per_second": speed.get("tokens_per_second"),
        "latency_ms_per_token": speed.get("latency_ms_per_token"),
        "expert_utilization": (uses > 0).mean(),
        "gini_coefficient": mean_or_none([gini(layer) for layer in uses]),
        "adaptive_range": counts.max() - counts.min(),
        "selection_entropy": selection_entropy(counts),
        "ceiling_hit_rate": (counts == head["k_or_max_k"]).mean(),
        "floor_hit_rate": 0.0 if is_static(head) else (counts == head["min_k"]).mean(),
        "layer_expert_variance": np.var([layer.mean() for layer in counts_by_layer(head, trace)]),
        "layer_consistency_score": mean_or_none(correlations(head, trace)),
        "expert_overlap_score": expert_overlap(trace, trace_repeat),
        "output_determinism": determinism(scores, scores_repeat),
    }


def is_static(head: dict) -> bool:
    return head["min_k"] == head["k_or_max_k"]


def mean_or_none(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def avg_loss(scores: Rows) -> float:
    return sum(row["loss"] for row in scores) / sum(row["loss_tokens"] for row in scores)


def task_accuracy(kind: str, scores: Rows) -> float | None:
    column = {"cloze": "correct", "choice": "correct_norm"}.get(kind)
    return None if column is None else float(np.mean([row[column] for row in scores]))


def flops_reduction(mean_count: float, trained_top_k: int, num_experts: int) -> float:
    """The source documents' formula."""
    expert_fraction = 0.6
    baseline = (trained_top_k / num_experts) * expert_fraction + (1 - expert_fraction)
    cost = (mean_count / num_experts) * expert_fraction + (1 - expert_fraction)
    return (baseline - cost) / baseline * 100


def flops_reduction_exact(head: dict, structure: dict, mean_count: float) -> float:
    def products(count: float) -> float:
        hidden, width = structure["hidden_size"], structure["head_dim"]
        query_and_output = 2 * hidden * structure["num_heads"] * width
        key_and_value = 2 * hidden * structure["num_key_value_heads"] * width
        experts = 3 * hidden * structure["intermediate_size"] * count
        routed = head["num_layers"] * (hidden * head["num_experts"] + experts)
        dense_layers = structure["num_hidden_layers"] - head["num_layers"]
        dense = dense_layers * 3 * hidden * (structure["dense_intermediate_size"] or 0)
        attention = structure["num_hidden_layers"] * (query_and_output + key_and_value)
        return attention + routed + dense + hidden * structure["vocab_size"]

    return 100 * (products(head["trained_top_k"]) - products(mean_count)) / products(head["trained_top_k"])


def usage(head: dict, trace: Rows) -> np.ndarray:
    uses = np.zeros((head["num_layers"], head["num_experts"]))
    for row in trace:
        for expert in row["experts"]:
            uses[row["layer"], expert] += 1
    return uses


def gini(uses: np.ndarray) -> float | None:
    """Half the relative mean absolute difference of all pairs."""
    if uses.sum() == 0:
        return None
    return float(np.abs(uses[:, None] - uses[None, :]).mean() / (2 * uses.mean()))


def selection_entropy(counts: np.ndarray) -> float:
    _, tokens = np.unique(counts, return_counts=True)
    shares = tokens / tokens.sum()
    return float(-(shares * np.log(shares)).sum())


def counts_by_layer(head: dict, trace: Rows) -> list[np.ndarray]:
    """Counts of each layer, tokens in one order."""
    ordered = sorted(trace, key=place)
    layers = range(head["num_layers"])
    return [np.array([row["count"] for row in ordered if row["layer"] == layer], float) for layer in layers]


def correlations(head: dict, trace: Rows) -> list[float | None]:
    layers = counts_by_layer(head, trace)
    return [
        float(np.corrcoef(here, after)[0, 1]) if np.ptp(here) and np.ptp(after) else None
        for here, after in pairwise(layers)
    ]


def jaccard(one: set, other: set) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0


def expert_overlap(trace: Rows, repeat: Rows) -> float | None:
    first = {place(row): set(row["experts"]) for row in trace}
    return mean_or_none([jaccard(first[place(row)], set(row["experts"])) for row in repeat])


def determinism(scores: Rows, repeat: Rows) -> float | None:
    first = {row["sample_id"]: row["argmax_ids"] for row in scores}
    return mean_or_none([float(first[row["sample_id"]] == row["argmax_ids"]) for row in repeat])


def routing_entropies(trace: Rows) -> np.ndarray:
    """Entropy of the softmax of each row's logits, nats."""
    logits = np.array([row["router_logits"] for row in trace], float)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return -(shares * np.log(shares)).sum(axis=1)


def chosen_in_trained(trained_top_k: int, trace: Rows) -> list[int]:
    """Chosen experts of each row whose logit is not below the k-th largest, at most k."""
    found = []
    for row in trace:
        kth = sorted(row["router_logits"], reverse=True)[trained_top_k - 1]
        found.append(
            min(sum(row["router_logits"][expert] >= kth for expert in row["experts"]), trained_top_k)
        )
    return found


def tied_at_last_rank(trained_top_k: int, trace: Rows) -> list[bool]:
    """Whether each row's k-th and (k+1)-th largest logits are equal; never where k is all experts."""
    found = []
    for row in trace:
        downwards = sorted(row["router_logits"], reverse=True)
        found.append(
            trained_top_k < len(downwards) and downwards[trained_top_k - 1] == downwards[trained_top_k]
        )
    return found


def trained_overlap(head: dict, trace: Rows) -> tuple[float, float]:
    """Mean Jaccard with, and recall of, the trained top-k; for logits without ties."""
    jaccards, recalls = [], []
    for row in trace:
        trained = set(np.argsort(row["router_logits"])[::-1][: head["trained_top_k"]].tolist())
        jaccards.append(jaccard(trained, set(row["experts"])))
        recalls.append(len(trained & set(row["experts"])) / head["trained_top_k"])
    return float(np.mean(jaccards)), float(np.mean(recalls))


def paired(ours: Rows, theirs: Rows) -> dict[str, Any]:
    """Differences of two configurations over the same samples, with normal 95 % intervals."""
    other = {row["sample_id"]: row for row in theirs}
    difference = np.array([row["loss"] - other[row["sample_id"]]["loss"] for row in ours])
    tokens = np.array([row["loss_tokens"] for row in ours], float)
    ratio, n, z = difference.sum() / tokens.sum(), len(ours), 1.959963984540054
    error = math.sqrt(n / (n - 1) * ((difference - ratio * tokens) ** 2).sum()) / tokens.sum()
    return {"loss_difference": ratio, "low": ratio - z * error, "high": ratio + z * error}
