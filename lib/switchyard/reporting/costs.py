"""Sections on cost: work, time, and how much of it the rules decided."""

from __future__ import annotations

from switchyard.reporting import comparisons as made
from switchyard.reporting.findings import Findings
from switchyard.reporting.tables import cells, markdown_table
from switchyard.warehouse.study_tables import Tables


def compute(tables: Tables, found: Findings, *, machine: str | None) -> list[str]:
    """FLOPs by both formulas, and speed where it was measured."""
    frame = made.configurations(tables)
    frame = frame[frame["matched"].isna()]
    columns = {
        "avg_experts": ("mean experts", "experts"),
        "flops_reduction_pct": ("FLOPs saved, 0.6/0.4 formula", "percent"),
        "flops_reduction_exact_pct": ("FLOPs saved, counted", "percent"),
        "tokens_per_second": ("prefill tokens/s", "speed"),
        "latency_ms_per_token": ("decode ms/token", "ms"),
    }
    columns = {name: title for name, title in columns.items() if name in frame}
    header = ["configuration", *(title for title, _ in columns.values())]
    rows = cells(frame, {"label": str, **{name: kind for name, (_, kind) in columns.items()}})
    if found.count("partner_configurations"):
        header += ["static partner's tokens/s", "ratio to it", "static partner's ms/token"]
        findings = ("partner_tokens_per_second", "partner_ratio", "partner_latency_ms_per_token")
        for row, name in zip(rows, frame["config_name"], strict=True):
            row += [found.say(finding, config_name=name) for finding in findings]
    words = (
        f"FLOPs saved are against {tables.labels[tables.trained]}; below zero is more work. The 0.6/0.4 formula is "
        "the literature's and gives experts 60 % of a model's work whatever its shape; the counted matrix products "
        "of this model (projections, router, experts, head) are the ones to believe. Speed holds for "
        f"{machine or 'the machine named in the speed file'}, this implementation and these lengths only; decoding "
        "is one sequence at a time. In larger batches nearly every expert is wanted by some token, and skipping "
        "saves less."
    )
    return [words, *_speed_words(tables, found), markdown_table(header, rows)]


def floor_and_ceiling(tables: Tables, found: Findings) -> list[str]:
    """How much of the routing the rule decides."""
    frame = made.bounds(tables)
    if frame.empty:
        return ["The study has no adaptive rule."]
    columns = {
        "label": str,
        "avg_experts": "experts",
        "floor_hit_rate": "share",
        "between": "share",
        "ceiling_hit_rate": "share",
    }
    words = (
        "Shares of (layer, token), means over datasets. On the floor a token got the least number of experts, on "
        "the ceiling the largest, by the rule's own number or by the clamp to its limits; only between them does the "
        f"number vary. The floor takes {found.span('floor_lowest', 'floor_highest')} and the ceiling at most "
        f"{found.say('ceiling_highest')}. Of {found.counted('adaptive_rules', 'adaptive configuration')}, "
        f"{found.say('mostly_floor')} are mostly floor and {found.say('mostly_ceiling')} mostly ceiling."
    )
    header = ["configuration", "mean experts", "floor", "between", "ceiling"]
    return [words, markdown_table(header, cells(frame, columns))]


def _speed_words(tables: Tables, found: Findings) -> list[str]:
    parts = []
    if found.count("partner_configurations"):
        parts.append(
            f"{found.counted('partner_configurations', 'adaptive configuration')} ran at "
            f"{found.span('partner_ratio_lowest', 'partner_ratio_highest')} times the prefill speed of mixed static "
            "top-k with their mean number of experts over the datasets: what choosing costs."
        )
    if found.count("speed_configurations"):
        parts.append(
            f"Of {found.counted('speed_configurations', 'adaptive configuration')} with fewer experts than trained, "
            f"{found.say('slower_than_trained')} ran slower than {tables.labels[tables.trained]} in prefill; the "
            f"speeds were {found.span('speedup_lowest', 'speedup_highest')} times its own."
        )
    return [" ".join(parts)] if parts else []
