"""Profiles as a page: what the time of a model goes to, what rules add and gain, what the fitted model is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from switchyard.profiling.latency import PERCENTILES, compared, percentiles
from switchyard.profiling.names import UNTOUCHED
from switchyard.profiling.overhead import LIMIT_PERCENT
from switchyard.profiling.performance_model import LIMITS
from switchyard.profiling.points import PHASES
from switchyard.reporting.numbers import ABSENT, counted, number
from switchyard.reporting.tables import markdown_table

TITLE = "Where the time goes"
INTRODUCTION = (
    "All rules of a model were timed in one process that had the machine to itself, interleaved with the untouched "
    "model. Ratios within a table compare like with like; milliseconds hold for this machine and these lengths. "
    "Intervals are 95 % and not corrected for their number. Ceilings were measured, with a product and a copy. The "
    "figures show the same numbers."
)


class Evidence(NamedTuple):
    """What is known of one model."""

    components: pd.DataFrame
    """`components.csv`."""
    roofline: pd.DataFrame
    """`roofline.csv`."""
    latency: pd.DataFrame
    """`latency.parquet`."""
    overhead: Mapping[str, Any]
    """`overhead.json`."""
    model: Mapping[str, Any]
    """`performance_model.json`."""


def document(found: Sequence[Evidence]) -> str:
    """The page as Markdown."""
    parts = [f"# {TITLE}", INTRODUCTION]
    for one in found:
        latencies = compared(one.latency)
        parts += [f"## {one.model['model']}", paragraph(one, latencies)]
        tables = {
            "Components": component_table(one.components),
            "What a rule adds to the routing, in microseconds of a forward": overhead_table(one.overhead),
            "Latencies": latency_table(latencies),
            "Percentiles": percentile_table(one.latency),
            "Error of the performance model": error_table(one.model["errors"]),
            "Predicted before it was measured": verification_table(one.model["verification"]),
            "Where a rule begins to pay, by the performance model": break_even_table(one.model["break_even"]),
            "Order of growth": growth_table(one.model["growth"]),
            "Ceilings attained": roofline_table(one.roofline),
            "Bottlenecks": bottleneck_table(one.model["bottlenecks"]),
        }
        for title, table in tables.items():
            parts += [f"### {title}", table]
    return "\n\n".join(parts) + "\n"


def paragraph(one: Evidence, latencies: Sequence[Mapping[str, Any]]) -> str:
    """What a reader should know first."""
    ceilings = one.model["ceilings"]
    said = [
        f"Measured ceilings: {number(ceilings['gflops'], 'level')} billion operations and "
        f"{number(ceilings['gbytes'], 'level')} billion bytes a second.",
        instruments(one.overhead["instruments"]),
        added(one.overhead["overheads"]),
        verdicts(latencies),
        accuracy(one.model["errors"]),
    ]
    high = [row for row in one.model["bottlenecks"] if row["severity"] == "high"]
    said.append(
        f"There {'is' if len(high) == 1 else 'are'} {counted(len(high), 'bottleneck')} of high severity."
    )
    return " ".join(said)


def instruments(rows: Sequence[Mapping[str, Any]]) -> str:
    """What measuring costs, and what part of the time has a name."""
    ratios, shares = ([row[key] for row in rows] for key in ("instrumented_over_plain", "named_share"))
    return (
        f"With instruments a forward took {_span(ratios, 'ratio')} times as long as without, and parts with a name "
        f"were {_span(shares, 'share')} of it."
    )


def added(rows: Sequence[Mapping[str, Any]]) -> str:
    """Whether what rules add stays within the limit."""
    within = sum(row["within_limit"] for row in rows)
    percents = [row["overhead_percentage"] / 100 for row in rows]
    return (
        f"What a rule adds to the routing is {_span(percents, 'share')} of the untouched router's own time; the limit "
        f"of {LIMIT_PERCENT:g} % is met in {within} of {counted(len(rows), 'case')}."
    )


def verdicts(latencies: Sequence[Mapping[str, Any]]) -> str:
    """Each rule against the untouched model, by the paired latencies."""
    said = []
    for phase in PHASES:
        own = [row for row in latencies if row["phase"] == phase and row["rule"] != UNTOUCHED]
        if own:
            parts = [f"{row['rule']} {row['verdict']} ({number(row['ratio'], 'ratio')})" for row in own]
            said.append(f"In {phase}, latencies over the untouched model's: {', '.join(parts)}.")
    return " ".join(said)


def accuracy(errors: Sequence[Mapping[str, Any]]) -> str:
    """The performance model's error on held-out points against both limits."""
    held = [row for row in errors if row["role"] == "held out"]
    if not held:
        return "No point was held out."
    said = [f"{number(row['mean'], 'share')} in {row['phase']}" for row in held]
    limits = " and ".join(
        f"{number(limit, 'level_percent')} {'met' if all(row['within'][name] for row in held) else 'missed'}"
        for name, limit in LIMITS.items()
    )
    return f"On held-out points the performance model is off by {' and '.join(said)} on average ({limits})."


def component_table(components: pd.DataFrame) -> str:
    """Share of each component by rule and phase, the largest first."""
    wide = components.pivot_table(
        index="component", columns=["phase", "rule"], values="percentage", sort=False, fill_value=0.0
    )
    wide = wide.loc[wide.mean(axis=1).sort_values(ascending=False).index]
    header = ["component", *(f"{rule}, {phase}" for phase, rule in wide.columns)]
    rows = [
        [name, *(number(value / 100, "share") for value in row)]
        for name, row in zip(wide.index, wide.to_numpy())
    ]
    return markdown_table(header, rows)


def overhead_table(overhead: Mapping[str, Any]) -> str:
    """One row per rule and phase."""
    names = ["hashing", "cache", "gating", "testing", "total"]
    header = ["rule", "phase", *names, "baseline routing", "routing savings", "net benefit", "expert savings"]
    header += ["share of baseline routing", f"limit {LIMIT_PERCENT:g} %"]
    keys = [f"{name}_overhead_us" for name in names]
    keys += ["baseline_routing_us", "routing_savings_us", "net_benefit_us", "expert_savings_us"]
    rows = [
        [
            row["rule"],
            row["phase"],
            *(number(row[key], "speed") for key in keys),
            number(row["overhead_percentage"] / 100, "share"),
            "met" if row["within_limit"] else "missed",
        ]
        for row in overhead["overheads"]
    ]
    return markdown_table(header, rows, text_columns=2)


def latency_table(latencies: Sequence[Mapping[str, Any]]) -> str:
    """One row per rule and phase: the verdict and the tail."""
    header = ["rule", "phase", "verdict", "samples", "ratio", "95 % interval", "P99 / P50", "P99.9 / P50"]
    rows = [
        [
            row["rule"],
            row["phase"],
            row["verdict"] or ABSENT,
            number(row["samples"], "count"),
            number(row["ratio"], "ratio"),
            _interval(row["low"], row["high"], "ratio"),
            *(
                number(row[key], "ratio") if row[key] else "too few samples"
                for key in ("tail_ratio", "longest_tail_ratio")
            ),
        ]
        for row in latencies
    ]
    return markdown_table(header, rows, text_columns=3)


def percentile_table(latency: pd.DataFrame) -> str:
    """Milliseconds of each percentile; in brackets where too few samples lie beyond it for an interval."""
    ranks = percentiles(latency)
    rows = []
    for (rule, phase), own in ranks.groupby(["rule", "phase"], sort=False):
        cells = [
            number(row.latency_ms, "ms") if row.enough else f"({number(row.latency_ms, 'ms')})"
            for row in own.itertuples()
        ]
        rows.append([rule, phase, *cells])
    note = "In brackets: too few samples beyond the percentile for a 95 % interval."
    table = markdown_table(["rule", "phase", *(f"P{one:g}" for one in PERCENTILES)], rows, text_columns=2)
    return f"{table}\n\n{note}"


def error_table(errors: Sequence[Mapping[str, Any]]) -> str:
    """Mean, median and largest error by phase and role."""
    header = ["phase", "points", "number", "mean", "median", "largest", "half interval of a measurement"]
    header += [f"limit {number(limit, 'level_percent')}" for limit in LIMITS.values()]
    rows = [
        [
            row["phase"],
            row["role"],
            number(row["points"], "count"),
            *(number(row[key], "share") for key in ("mean", "median", "largest", "repeatability")),
            *("met" if row["within"][name] else "missed" for name in LIMITS),
        ]
        for row in errors
    ]
    return markdown_table(header, rows, text_columns=2)


def verification_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The forecast beside what was measured afterwards."""
    header = ["rule", "phase", "batch", "length", "cache", "forecast ms", "measured ms", "miss"]
    return markdown_table(
        header,
        [
            [
                row["rule"],
                row["phase"],
                *(number(row[key], "count") for key in ("batch", "length", "cache_length")),
                number(row["forecast_ms"], "ms"),
                number(row["median_ms"], "ms"),
                number(row["error"], "share_change"),
            ]
            for row in rows
        ],
        text_columns=2,
    )


def break_even_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Where each curve crosses equal speed."""
    header = ["rule", "phase", "variable", "speed-up at its start", "at its end", "equal at"]
    cells = [
        [
            row["rule"],
            row["phase"],
            row["variable"],
            number(row["first"], "ratio"),
            number(row["last"], "ratio"),
            number(row["at"], "ratio") if row["at"] is not None else _never(row),
        ]
        for row in rows
    ]
    return markdown_table(header, cells, text_columns=3)


def growth_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Slopes of the logarithms."""
    cells = [
        [
            row["rule"],
            row["phase"],
            row["variable"].replace("_", " "),
            number(row["order"], "ratio"),
            _interval(row["low"], row["high"], "ratio"),
        ]
        for row in rows
    ]
    return markdown_table(["rule", "phase", "in", "order", "95 % interval"], cells, text_columns=3)


def roofline_table(roofline: pd.DataFrame) -> str:
    """Medians over the points of a rule and phase."""
    header = ["rule", "phase", "bound by", "attained of the roof", "S-MBU", "S-MFU"]
    rows = []
    for (rule, phase), own in roofline.groupby(["rule", "phase"], sort=False):
        bound = own["bound"].mode()[0]
        shares = [number(own[key].median(), "share") for key in ("attained_share", "s_mbu", "s_mfu")]
        rows.append([rule, phase, bound, *shares])
    return markdown_table(header, rows, text_columns=3)


def bottleneck_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Severest first."""
    if not rows:
        return "None of the limits is passed."
    header = ["severity", "rule", "phase", "what", "measured", "limit of medium"]
    cells = [
        [
            row["severity"],
            row["rule"],
            row["phase"],
            row["what"],
            number(row["measured"], "ratio"),
            number(row["limit"], "ratio"),
        ]
        for row in rows
    ]
    return markdown_table(header, cells, text_columns=4)


def _never(row: Mapping[str, Any]) -> str:
    return "faster throughout" if row["first"] > 1 else "slower throughout"


def _interval(low: float | None, high: float | None, kind: str) -> str:
    if low is None or high is None:
        return ABSENT
    return f"[{number(low, kind)}, {number(high, kind)}]"


def _span(values: Sequence[float], kind: str) -> str:
    return " to ".join(dict.fromkeys(number(one, kind) for one in (min(values), max(values))))
