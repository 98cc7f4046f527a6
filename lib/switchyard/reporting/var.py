"""VAR against the untouched models as a page: one paragraph and two tables for each model.

Every number of a sentence is a cell of `comparison.json`, `sweep.parquet`, `ceiling.json` or `context.parquet`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from switchyard.reporting.numbers import ABSENT, counted, listed, number
from switchyard.reporting.tables import markdown_table
from switchyard.statistics.multiplicity import LEVEL

TITLE = "VAR against the untouched models"
DEFAULT = "balanced"
"""The preset whose thresholds are VARConfig's defaults."""
INTRODUCTION = (
    "VAR (Verifiable Adaptive Routing) looks the experts of a token up: on the fast path in a table by token id, on "
    "the cached path by the token and those before it; other tokens are routed by the model (learned). Loss is in nats "
    "per target token and paired by sample; a difference above zero is worse. Speed is paired by round, in one "
    "process; it holds for this machine, this implementation and these lengths. Operations are the matrix products "
    "of a token: projections, router, experts, head. p-values are adjusted by Holm's method, one family for each model "
    f"and table, and a verdict needs one below {LEVEL:g}; intervals are not corrected. The sweep chooses thresholds "
    "on the text that it is run on, so that its best point is optimistic."
)


class Evidence(NamedTuple):
    """What is known of one model."""

    comparison: Mapping[str, Any]
    """`comparison.json`."""
    sweep: pd.DataFrame
    """`sweep.parquet`."""
    ceiling: Mapping[str, Any]
    """`ceiling.json`."""
    context: pd.DataFrame
    """`context.parquet`."""


def document(found: Sequence[Evidence]) -> str:
    """The page as Markdown."""
    parts = [f"# {TITLE}", INTRODUCTION]
    for one in found:
        comparisons = one.comparison["comparisons"]
        parts += [
            f"## {one.comparison['model']}",
            paragraph(one),
            "### Comparison",
            comparison_table(comparisons),
        ]
        texts = dict.fromkeys(row["dataset"] for row in comparisons if row["criteria"])
        for dataset in texts:
            own = [row for row in comparisons if row["dataset"] == dataset]
            parts += [f"### Criteria on {dataset}", criteria_table(own)]
    return "\n\n".join(parts) + "\n"


def paragraph(one: Evidence) -> str:
    """Which setting costs what on a model, beside what a table could hit at best."""
    sweep = one.sweep
    said = [
        presets(one.comparison["comparisons"]),
        slowdown(one.comparison["comparisons"]),
        beginning(sweep),
        whole_table(sweep),
        fewer_experts(sweep),
        cache(sweep),
        unharmed(sweep),
        no_key(sweep),
        ceilings(one.ceiling, one.context),
    ]
    return " ".join(filter(None, said))


def presets(comparisons: Sequence[Mapping[str, Any]]) -> str:
    """Which configurations ever leave the learned path, and what those cost on the first running text."""
    text = next(one["dataset"] for one in comparisons if one["kind"] == "text")
    idle = [name for name in _names(comparisons) if not _looked_up(comparisons, name)]
    said = []
    if DEFAULT in idle:
        said.append("At its defaults VAR never leaves the learned path on this model.")
    if others := [name for name in idle if name != DEFAULT]:
        said.append(
            f"{'Neither do' if DEFAULT in idle else 'The learned path is never left by'} {listed(others)}."
        )
    for one in comparisons:
        if one["dataset"] != text or one["name"] in idle:
            continue
        loss, shares = one["quality"]["loss"], one["var_stats"]["overall"]["routing_distribution"]
        name = "At its defaults VAR" if one["name"] == DEFAULT else f"The configuration {one['name']}"
        said.append(
            f"{name} looks {_share((shares['fast'] + shares['cached']) / 100)} of the tokens of {text} up and changes "
            f"its perplexity by {number(one['quality']['perplexity_change'], 'share_change')}, which is "
            f"{_significant(loss)}."
        )
    return " ".join(said)


def slowdown(comparisons: Sequence[Mapping[str, Any]]) -> str:
    """What the configurations cost or gain in speed, side by side with the untouched model."""
    timed = {one["name"]: one["speed"] for one in comparisons if one["speed"]}
    if not timed:
        return ""
    ranges = {
        name: sorted(one[key]["ratio"] for one in timed.values())
        for name, key in (("prefill", "prefill"), ("decoding", "latency_p50"))
    }
    said = " and ".join(f"{name} at {low[0]:.2f} to {low[-1]:.2f}" for name, low in ranges.items())
    return f"Side by side with the untouched model its configurations run {said} times its speed."


def beginning(sweep: pd.DataFrame) -> str:
    """The lowest threshold at which the table acts."""
    acting = sweep[(sweep["kind"] == "fast_path") & (sweep["fast"] > 0)]
    if acting.empty:
        return "No entropy threshold that was tried lets a token take the fast path."
    first = acting[acting["entropy_threshold"] == acting["entropy_threshold"].min()]
    point = _whole(first, "live")
    return (
        f"The lowest entropy threshold that was tried and acts, {number(point['entropy_threshold'], 'gap')} nats, "
        f"looks {_share(point['coverage'])} of the tokens up; with "
        f"{counted(int(point['fast_path_experts']), 'expert')} and the weights of the model's own router this "
        f"costs {_cost(point)}."
    )


def whole_table(sweep: pd.DataFrame) -> str:
    """What looking up all that the table knows costs, apart for experts and weights, and what it saves.

    Only of points with as many experts as the model was trained with.
    """
    most = _widest(sweep)
    if most is None:
        return ""
    live, stored = _whole(most, "live"), _whole(most, "table")
    if live["fast_path_experts"] < sweep["mean_experts"].max():
        return ""
    return (
        f"Looking up all that the table knows, {_share(live['coverage'])} of the tokens, costs {_cost(live)} with the "
        f"router's own weights, which is the error of the selection, and {_cost(stored)} with stored ones. It saves "
        f"{number(1 - stored['flops_ratio'], 'share')} of the operations, since as many experts run and only the "
        "router does not."
    )


def fewer_experts(sweep: pd.DataFrame) -> str:
    """What fewer experts on the fast path save and cost, and whether static top-k does better for as much."""
    most = sweep["mean_experts"].max()
    points = sweep[(sweep["kind"] == "fast_path") & (sweep["fast_path_experts"] < most) & (sweep["fast"] > 0)]
    if points.empty:
        return ""
    cheapest = points.loc[points["flops_ratio"].idxmin()]
    said = (
        f"With {counted(int(cheapest['fast_path_experts']), 'expert')} on the fast path instead of {most:.0f}, the "
        f"cheapest point runs {number(cheapest['flops_ratio'], 'share')} of the operations and costs {_cost(cheapest)}."
    )
    beside = points.dropna(subset=["static_k"])
    if beside.empty:
        return f"{said} No static top-k costs as little."
    counts = beside["static_verdict"].value_counts()
    static = sweep[sweep["kind"] == "static"].set_index("mean_experts")["flops_ratio"]
    shares = (beside["static_k"].map(static) / beside["flops_ratio"]).tolist()
    return (
        f"{said} Beside the dearest static top-k that costs no more, which runs {_span(shares)} of their operations, "
        f"{counted(len(beside), 'point')} with fewer experts: {counts.get('better', 0)} better, "
        f"{counts.get('worse', 0)} worse, {counts.get('not distinguishable', 0)} not distinguishable."
    )


def cache(sweep: pd.DataFrame) -> str:
    """What the cache alone covers and costs with its shortest and its longest key."""
    points = sweep[sweep["kind"] == "cache"]
    if points.empty:
        return ""
    said = []
    for window in sorted(points["context_window_size"].unique(), reverse=True):
        own = points[(points["context_window_size"] == window) & (points["route_weights"] == "live")]
        point = own.loc[own["coverage"].idxmax()]
        covered = f"at most {_share(point['coverage'])} of the tokens at {_cost(point)}"
        said.append(
            f"with keys of {counted(int(window) + 1, 'token')} {covered if point['coverage'] else 'none of the tokens'}"
        )
    return f"The cache alone finds, {', and '.join(said)} (the router's own weights)."


def unharmed(sweep: pd.DataFrame) -> str:
    """The cheapest point of VAR that acts and is not measurably worse."""
    points = sweep[sweep["kind"].isin(["fast_path", "cache"]) & (sweep["coverage"] > 0)]
    if points.empty:
        return "No point of the sweep looks anything up."
    kept = points[points["verdict"] != "worse"]
    if kept.empty:
        return (
            f"Each of {counted(len(points), 'point')} that acts is measurably worse than the untouched model."
        )
    best = kept.loc[kept["flops_ratio"].idxmin()]
    return (
        f"Of {counted(len(points), 'point')} that act, {len(kept)} are not measurably worse than the untouched model; "
        f"the cheapest of these saves {number(1 - best['flops_ratio'], 'share')} of the operations with "
        f"{_share(best['coverage'])} of the tokens looked up."
    )


def no_key(sweep: pd.DataFrame) -> str:
    """What the token id is worth: a table with it beside one without."""
    most, points = _widest(sweep), sweep[sweep["kind"] == "no_key"]
    if points.empty:
        return ""
    point = _first(points[points["fast_path_experts"] == points["fast_path_experts"].max()])
    said = f"The layer's most used experts for every token, a table without a key, cost {_cost(point)}"
    if most is None:
        return f"{said}."
    keyed = _whole(most, "live")
    if {point["verdict"], keyed["verdict"]} != {"worse"}:
        return f"{said}."
    ratio = point["loss_difference"] / keyed["loss_difference"]
    return f"{said}, {number(ratio, 'ratio')} times what the table by token id does."


def ceilings(ceiling: Mapping[str, Any], context: pd.DataFrame) -> str:
    """What share of the used experts tables would hit on domains that they were not made from."""
    parts = []
    for level, name in (("global", "one list for all tokens"), ("token", "the token id")):
        parts.append((name, [layer[level]["leave_one_domain_out"] for layer in ceiling["layers"]]))
    for window, own in context.groupby("context"):
        name = f"the token id and {counted(int(window), 'token')} before it"
        parts.append((name, own["leave_one_domain_out_context"].tolist()))
    shown = [f"{name} {_span(shares)}" for name, shares in parts if all(map(_is_number, shares))]
    if not shown:
        return ""
    return (
        "A table can only be as right as its key. On domains that it was not made from it would hit these shares of "
        f"the used experts, over the layers, {number(ceiling['chance'], 'share')} being chance: keyed by "
        f"{'; by '.join(shown)}."
    )


def comparison_table(comparisons: Sequence[Mapping[str, Any]]) -> str:
    """One row per configuration and dataset."""
    header = ["configuration", "dataset", "samples", "perplexity, untouched", "perplexity, VAR", "change"]
    header += [
        "95 % interval",
        "p, Holm",
        "accuracy change",
        "prefill speed-up",
        "95 % interval",
        "decode speed-up",
    ]
    header += ["fast", "cached", "learned", "hit rate"]
    return markdown_table(header, [_compared(one) for one in comparisons], text_columns=2)


def criteria_table(comparisons: Sequence[Mapping[str, Any]]) -> str:
    """One row per criterion, one column per configuration: what was measured, the verdict, and the grade."""
    header = ["criterion", "list", "limit", *(one["name"] for one in comparisons)]
    rows = []
    for lines in zip(*(one["criteria"] for one in comparisons), strict=True):
        first = lines[0]
        rows.append([first["name"], first["source"], first["limit"], *map(_judged, lines)])
    return markdown_table(header, rows, text_columns=3)


def _compared(one: Mapping[str, Any]) -> list[str]:
    quality, loss, shares = one["quality"], one["quality"]["loss"], one["var_stats"]["overall"]
    measured = one["speed"] or {}
    prefill, decode = measured.get("prefill") or {}, measured.get("latency_p50") or {}
    accuracy = quality["accuracy"]
    return [
        one["name"],
        one["dataset"],
        number(quality["samples"], "count"),
        number(math.exp(loss["baseline"]), "perplexity"),
        number(math.exp(loss["var"]), "perplexity"),
        number(quality["perplexity_change"], "share_change"),
        _interval(quality["perplexity_change_interval"], "share_change"),
        number(loss["p_holm"], "p"),
        number(accuracy and accuracy["difference"], "share_change"),
        number(prefill.get("ratio"), "ratio"),
        _interval(prefill.get("interval", [None, None]), "ratio"),
        number(decode.get("ratio"), "ratio"),
        *(_share(shares["routing_distribution"][path] / 100) for path in ("fast", "cached", "learned")),
        _share(shares["cache_hit_rate"] / 100),
    ]


_MEASURED: dict[str, str] = {
    "perplexity": "share_change",
    "speed-up": "ratio",
    "learned routing": "share",
    "latency, 95th percentile": "share_change",
}
"""Number format of each criterion."""


def _judged(line: Mapping[str, Any]) -> str:
    if line["measured"] is None:
        return line["verdict"]
    grade = f", {line['grade']}" if line["grade"] else ""
    return f"{line['verdict']}{grade} ({number(line['measured'], _MEASURED[line['name']])})"


def _names(comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(one["name"] for one in comparisons))


def _looked_up(comparisons: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether a configuration looked any token of any set up."""
    shares = [
        one["var_stats"]["overall"]["routing_distribution"] for one in comparisons if one["name"] == name
    ]
    return any(one["fast"] + one["cached"] > 0 for one in shares)


def _significant(loss: Mapping[str, Any]) -> str:
    if not loss["significant"]:
        return "not distinguishable from no change"
    return f"{'worse' if loss['difference'] > 0 else 'better'} (p {number(loss['p_holm'], 'p')})"


def _whole(points: pd.DataFrame, weights: str) -> pd.Series:
    """The point with most experts and these weights."""
    own = points[points["route_weights"] == weights]
    return _first(own[own["fast_path_experts"] == own["fast_path_experts"].max()])


def _widest(sweep: pd.DataFrame) -> pd.DataFrame | None:
    """The points of the table that cover most; None where none covers anything."""
    points = sweep[sweep["kind"] == "fast_path"]
    kept = points[(points["coverage"] == points["coverage"].max()) & (points["coverage"] > 0)]
    return None if kept.empty else kept


def _first(frame: pd.DataFrame) -> pd.Series:
    return frame.iloc[0]


def _cost(point: pd.Series) -> str:
    """`+0.0101 nats [+0.0045, +0.0156], worse`."""
    interval = _interval([point["loss_low"], point["loss_high"]], "nats_change")
    shown = f" {interval}" if interval != ABSENT else ""
    return f"{number(point['loss_difference'], 'nats_change')} nats per token{shown} ({point['verdict']})"


def _interval(bounds: Sequence[float | None], kind: str) -> str:
    if not all(map(_is_number, bounds)):
        return ABSENT
    return f"[{number(bounds[0], kind)}, {number(bounds[1], kind)}]"


def _span(shares: Sequence[float]) -> str:
    ends = list(dict.fromkeys(_share(one) for one in (min(shares), max(shares))))
    return " to ".join(ends)


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _share(value: float) -> str:
    return number(value, "share")
