"""How numbers are printed: one function, so that a quantity looks the same wherever it stands."""

from __future__ import annotations

import math

ABSENT = "–"

FORMATS = {
    "perplexity": "{:#.4g}",
    "experts": "{:.2f}",
    "share": "{:.1%}",
    "share_change": "{:+.1%}",
    "nats": "{:.4f}",
    "nats_change": "{:+.4f}",
    "percent": "{:+.1f} %",
    "speed": "{:,.0f}",
    "ratio": "{:.2f}",
    "speed_up": "{:.4f}",
    "degradation": "{:+.2%}",
    "gap": "{:.3f}",
    "ms": "{:.2f}",
    "p": "{:.3f}",
    "level": "{:.4g}",
    "level_percent": "{:.0%}",
    "count": "{:,.0f}",
    "plain": "{:.3f}",
}

COLUMN_KINDS = {
    "perplexity": "perplexity",
    "avg_task_accuracy": "share",
    "avg_task_accuracy_stderr": "share",
    "expert_activation_ratio": "share",
    "flops_reduction_pct": "percent",
    "flops_reduction_exact_pct": "percent",
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
    "min_k": "count",
    "alpha": "level",
    "datasets": "count",
    "accuracy_tasks": "count",
    "avg_experts": "experts",
    "against_avg_experts": "experts",
    "std_experts": "experts",
    "min_experts": "count",
    "max_experts": "count",
    "reduction_vs_baseline": "percent",
    "avg_loss": "nats",
    "samples": "count",
    "loss_difference": "nats_change",
    "loss_difference_low": "nats_change",
    "loss_difference_high": "nats_change",
    "loss_p": "p",
    "loss_p_holm": "p",
    "accuracy_difference": "share_change",
    "accuracy_difference_low": "share_change",
    "accuracy_difference_high": "share_change",
    "only_this_correct": "count",
    "only_against_correct": "count",
    "mcnemar_p": "p",
    "accuracy_p_holm": "p",
}
"""Number format of each column of the aggregate tables, the same on every page."""


def number(value: float | None, kind: str) -> str:
    """`value` in the format of its kind (a key of FORMATS); a dash for what is not defined.

    Perplexities have four significant digits, all of them where there are more before the point. A p-value that
    rounds to 0 is `<0.001`. A change that rounds to nothing is printed without a sign, so that `-0.0 %` never appears.
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    if kind == "perplexity" and abs(value) >= 9999.5:
        return f"{value:,.0f}"
    if kind == "p" and value < 0.0005:
        return "<0.001"
    text = FORMATS[kind].format(value).rstrip(".")
    if text[0] in "+-" and not any(digit in text for digit in "123456789"):
        return text[1:]
    return text


def counted(count: int, noun: str) -> str:
    """`1 dataset`, `3 datasets`, `no datasets`."""
    return f"{number(count, 'count') if count else 'no'} {noun if count == 1 else noun + 's'}"


def listed(items: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
