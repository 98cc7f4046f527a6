"""What searching VAR's thresholds found, as a page: a paragraph and four tables for each model.

Every number of a sentence is a cell of `summary.json` or `sensitivity.parquet`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from switchyard.reporting.numbers import ABSENT, counted, listed, number
from switchyard.reporting.tables import markdown_table
from switchyard.statistics.multiplicity import LEVEL

TITLE = "The search for VAR's thresholds"
INTRODUCTION = (
    "Which thresholds are fastest without losing more perplexity than a limit allows? Points are judged on a tuning "
    "text that no routing table was made from, against the untouched model on the same samples. The best of each "
    "method is then run once on the final text, which nothing was chosen on. A grid, random points and a Bayesian "
    "search (Gaussian processes of speed and of loss) share the budget; random is what Bayesian has to beat. "
    "Intervals are 95 %. Degradation is the perplexity over that of the untouched model, minus 1."
)
SPEEDS = {
    "cost": "Speed is counted in matrix products per token: projections, router, experts, head. It is exact and ideal: "
    "no clock ran.",
    "measured": "Speed is the median over rounds of seconds, interleaved with the untouched model, on this machine.",
}


class Evidence(NamedTuple):
    """What is known of one model."""

    summary: Mapping[str, Any]
    """`summary.json`."""
    sensitivity: pd.DataFrame
    """`sensitivity.parquet`."""


def document(found: Sequence[Evidence]) -> str:
    """The page as Markdown."""
    parts = [f"# {TITLE}", INTRODUCTION]
    for one in found:
        parts += [
            f"## {one.summary['model']}",
            paragraph(one),
            "### Best feasible points",
            best_table(one.summary),
            settings_list(one.summary),
            "### Final text",
            final_table(one.summary),
            "### Bayesian against random",
            methods_table(one.summary),
            "### The study's own configurations",
            manual_table(one.summary),
        ]
    return "\n\n".join(parts) + "\n"


def paragraph(one: Evidence) -> str:
    """What was worth searching, what was found, and whether it holds."""
    said = [
        SPEEDS[one.summary["settings"]["speedup"]],
        *(space(name, found) for name, found in one.summary["spaces"].items()),
        against_manual(one.summary),
        generalises(one.summary),
        *comparisons(one.summary),
        *dependences(one.sensitivity),
    ]
    return " ".join(filter(None, said))


def space(name: str, found: Mapping[str, Any]) -> str:
    """Shares of a space, and what its best feasible point is worth."""
    shares = [f"{number(found['infeasible'], 'share')} were infeasible"]
    if found["flat"] is not None:
        shares.append(f"{number(found['flat'], 'share')} left every token as it was (flat)")
    shares.append(f"{number(found['failed'], 'share')} failed")
    best = _best(found)
    worth = "No point was feasible."
    if best is not None:
        method, row = best
        worth = (
            f"The best feasible point, of {method}, is worth a speed-up of {number(row['speed'], 'speed_up')} at a "
            f"degradation of {number(row['degradation'], 'degradation')}, with "
            f"{number(row['acting_share'], 'share')} of the tokens routed otherwise."
        )
    return (
        f"Space {name}: of {counted(found['points'], 'point')} ({number(found['computed'], 'count')} of them computed, "
        f"the others are known to decide as one of these), {listed(shares)}. {worth}"
    )


def against_manual(summary: Mapping[str, Any]) -> str:
    """Whether the search beats the configurations that were set by hand."""
    manual = summary["manual"]
    best = "the untouched model" if manual["fastest"] is None else manual["fastest"]
    return (
        f"Better than manual tuning: {manual['better_than_manual']}. The fastest feasible configuration set by hand is "
        f"{best} with {number(manual['speed'], 'speed_up')}; the search found "
        f"{number(manual['searched_speed'], 'speed_up')}."
    )


def generalises(summary: Mapping[str, Any]) -> str:
    """Whether the best points stay within the limit on the final text."""
    final = summary["final"]
    kept = [name for name, one in final.items() if one["within_limit"] == "PASS"]
    sure = [name for name, one in final.items() if one["surely_within_limit"]]
    limit = number(summary["settings"]["max_quality_degradation"], "degradation")
    return (
        f"On the final text the best points of {len(kept)} of {counted(len(final), 'method')} stay within the limit of "
        f"{limit}; for {len(sure)} the whole interval does."
    )


def comparisons(summary: Mapping[str, Any]) -> Iterator[str]:
    """Is Bayesian better than random at equal budget? Said either way."""
    for name, one in summary["methods"].items():
        if one is None:
            continue
        found = {"better": "is better than", "worse": "is worse than"}.get(
            one["verdict"], "is not distinguishable from"
        )
        yield (
            f"At {counted(one['budget'], 'point')} of each of {counted(one['seeds'], 'seed')} the Bayesian search "
            f"{found} random in space {name} (difference of the best speeds {number(one['difference'], 'speed_up')}, "
            f"{one['wins']} won, {one['losses']} lost, p {number(one['p'], 'p')})."
        )


def dependences(table: pd.DataFrame) -> Iterator[str]:
    """The dimension that speed depends on most, beside the process's own uncertainty."""
    speeds = table[table["column"] == "speed"]
    for name, own in speeds.groupby("space", sort=False):
        ranges = own.groupby("dimension", sort=False)["mean"].agg(lambda means: means.max() - means.min())
        first = ranges.idxmax()
        if not ranges[first] > 0:
            yield f"In space {name} speed is the same everywhere."
            continue
        error = own[own["dimension"] == first]["std"].mean()
        yield (
            f"In space {name} speed depends most on {first}: over its range the fitted mean moves by "
            f"{number(ranges[first], 'speed_up')}, with a standard deviation of {number(error, 'speed_up')}."
        )


def best_table(summary: Mapping[str, Any]) -> str:
    """One row per space and method."""
    header = ["space", "method", "points", "flat", "infeasible", "failed", "best speed-up", "degradation"]
    header += ["acting share"]
    rows = []
    for name, found in summary["spaces"].items():
        for method, one in found["by_method"].items():
            best = one["best"] or {}
            rows.append(
                [
                    name,
                    method,
                    number(one["points"], "count"),
                    *(number(one[key], "share") for key in ("flat", "infeasible", "failed")),
                    number(best.get("speed"), "speed_up"),
                    number(best.get("degradation"), "degradation"),
                    number(best.get("acting_share"), "share"),
                ]
            )
    return markdown_table(header, rows, text_columns=2)


def settings_list(summary: Mapping[str, Any]) -> str:
    """The settings of the best feasible points, a line for each space and method that has one."""
    return "\n".join(
        f"- {name}, {method}: {_settings(one['best']['settings'])}"
        for name, found in summary["spaces"].items()
        for method, one in found["by_method"].items()
        if one["best"] is not None
    )


def final_table(summary: Mapping[str, Any]) -> str:
    """One row per method: its best point on the text that nothing was chosen on."""
    header = ["method", "samples", "perplexity, untouched", "perplexity", "degradation", "95 % interval"]
    header += ["within the limit", "surely", "speed-up"]
    rows = [
        [
            method,
            number(one["samples"], "count"),
            number(one["perplexity_untouched"], "perplexity"),
            number(one["perplexity"], "perplexity"),
            number(one["degradation"], "degradation"),
            _interval(one["degradation_interval"]),
            one["within_limit"],
            {True: "yes", False: "no"}.get(one["surely_within_limit"], ABSENT),
            number(one["speed"], "speed_up"),
        ]
        for method, one in summary["final"].items()
    ]
    return markdown_table(header, rows)


def methods_table(summary: Mapping[str, Any]) -> str:
    """One row per space."""
    header = ["space", "seeds", "points each", "Bayesian", "random", "difference", "95 % interval", "p"]
    header += ["p, sign flips", "verdict"]
    rows = [
        [
            name,
            number(one["seeds"], "count"),
            number(one["budget"], "count"),
            *(number(one[key], "speed_up") for key in ("mean", "control_mean", "difference")),
            ABSENT if one["low"] is None else _span(one["low"], one["high"], "speed_up"),
            number(one["p"], "p"),
            number(one["p_sign_flip"], "p"),
            one["verdict"],
        ]
        for name, one in summary["methods"].items()
        if one is not None
    ]
    if not rows:
        return "One of the two did not run."
    note = f"A verdict needs a p-value below {LEVEL:g}; three seeds can hardly give one without a large difference."
    return f"{markdown_table(header, rows)}\n\n{note}"


def manual_table(summary: Mapping[str, Any]) -> str:
    """One row per configuration that was set by hand."""
    header = [
        "configuration",
        "text",
        "degradation",
        "95 % interval",
        "within the limit",
        "speed-up",
        "acting share",
    ]
    rows = [
        [
            name,
            text,
            number(one["degradation"], "degradation"),
            _interval(one["degradation_interval"]),
            one["within_limit"],
            number(one["speed"], "speed_up"),
            number(one["acting_share"], "share"),
        ]
        for name, texts in summary["manual"]["configurations"].items()
        for text, one in texts.items()
    ]
    return markdown_table(header, rows, text_columns=2)


def _best(found: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """The method with the fastest feasible point of a space, and the point."""
    able = {name: one["best"] for name, one in found["by_method"].items() if one["best"] is not None}
    return max(able.items(), key=lambda item: item[1]["speed"], default=None)


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in settings.items()
    )


def _interval(bounds: Sequence[float | None]) -> str:
    if any(bound is None or not math.isfinite(bound) for bound in bounds):
        return ABSENT
    return _span(*bounds, "degradation")


def _span(low: float, high: float, kind: str) -> str:
    return f"[{number(low, kind)}, {number(high, kind)}]"
