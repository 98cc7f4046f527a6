"""Recommendations that follow from the tables; each names the numbers it rests on, none is given without them."""

from __future__ import annotations

import math

from switchyard.charts.tables import Tables
from switchyard.reporting import findings as found
from switchyard.reporting.numbers import counted, listed, number


def recommendations(tables: Tables) -> list[str]:
    """One list of advice, as paragraphs of Markdown."""
    advice = [
        *_which_rule(tables),
        *_at_budgets(tables),
        *_leave_out(tables),
        *_about_bounds(tables),
        *_measure_next(tables),
    ]
    return ["\n".join(f"{place}. {text}" for place, text in enumerate(advice, start=1))]


def _which_rule(tables: Tables) -> list[str]:
    frame = found.verdicts(tables)
    adaptive = frame[~frame["static"]]
    if adaptive.empty:
        return [f"Stay with top-{tables.trained_top_k}: the study has no adaptive rule to compare it with."]
    kept = found.keepers(tables)
    if kept.empty:
        return [_price(tables, adaptive)]
    first = kept.iloc[0]
    name, on = tables.labels[first["config_name"]], counted(len(tables.datasets), "dataset")
    cost = f"{number(first['avg_experts'], 'experts')} experts per token instead of {tables.trained_top_k}"
    verdict = f", better on {int(first['better'])} of {on}" if first["better"] else ""
    room = (
        f"but the intervals still allow {number(first['allowed'], 'nats_change')} nats per token"
        if first["allowed"] > 0
        else "and every interval lies below 0"
    )
    text = (
        f"{name} is the cheapest adaptive rule not measurably worse than top-{tables.trained_top_k} on any "
        f"dataset: {cost}{verdict}, {room}."
    )
    return [f"{text} {_worth(tables, first['config_name'])}"]


def _worth(tables: Tables, name: str) -> str:
    """Whether fewer experts bought time where it was measured."""
    speeds = found.speeds(tables)
    rows = speeds[speeds["config_name"] == name]
    if rows.empty:
        return "Its speed was not measured."
    row = rows.iloc[0]
    ratio = f"{number(row['speedup'], 'experts')} times the tokens per second of top-{tables.trained_top_k}"
    if row["slower"]:
        return f"It did not pay in time: prefill ran at {ratio} on the machine measured, so use it for its FLOPs only."
    return f"Use it where time counts: prefill ran at {ratio} on the machine measured."


def _price(tables: Tables, adaptive) -> str:
    """No adaptive configuration is cheaper and not worse: what the least bad one costs."""
    trained = f"top-{tables.trained_top_k}"
    cheaper = adaptive[adaptive["saves"]]
    if cheaper.empty:
        return f"Stay with {trained}: no adaptive configuration uses fewer experts."
    worst = cheaper.groupby("config_name", sort=False)["loss_difference"].max()
    rows = cheaper[cheaper["config_name"] == worst.idxmin()]
    least = ", ".join(
        f"{row.dataset} {number(row.loss_difference, 'nats_change')} "
        f"[{number(row.loss_difference_low, 'nats_change')}, {number(row.loss_difference_high, 'nats_change')}]"
        for row in rows.itertuples()
    )
    return (
        f"Stay with {trained} where quality counts: every adaptive configuration with fewer experts is "
        "worse on at least one "
        f"dataset. The least loss is that of {tables.labels[worst.idxmin()]}, "
        f"{number(rows['avg_experts'].mean(), 'experts')} experts per token, in nats per token: {least}."
    )


def _at_budgets(tables: Tables) -> list[str]:
    """For every budget the configuration that is best on all datasets, or that there is none."""
    texts = []
    for budget, rows in found.best_at_budget(tables).groupby("budget"):
        names = list(dict.fromkeys(tables.labels[name] for name in rows["config_name"]))
        everywhere = len(rows) == len(tables.datasets)
        if len(names) == 1 and everywhere:
            texts.append(f"at most {budget}: {names[0]}")
        else:
            each = [f"{tables.labels[row.config_name]} ({row.dataset})" for row in rows.itertuples()]
            texts.append(f"at most {budget}: {listed(each)}")
    return (
        [f"For lowest perplexity at a budget of mean experts, choose — {'; '.join(texts)}."] if texts else []
    )


def _leave_out(tables: Tables) -> list[str]:
    names = [tables.labels[name] for name in found.dominated(tables)["config_name"]]
    if not names:
        return []
    return [
        f"Leave out {listed(names)}: each is dominated, another has no more experts and does better on "
        "every dataset."
    ]


def _about_bounds(tables: Tables) -> list[str]:
    frame = found.bounds(tables)
    floor = frame[frame["floor_hit_rate"] > found.MOSTLY]
    ceiling = frame[frame["ceiling_hit_rate"] > found.MOSTLY]
    texts = []
    if len(floor):
        texts.append(
            f"Do not read {counted(len(floor), 'configuration')} as adaptive "
            f"({listed(list(floor['label']))}): more than half of "
            f"their decisions, {number(floor['floor_hit_rate'].min(), 'share')} to "
            f"{number(floor['floor_hit_rate'].max(), 'share')}, are the floor. A larger α or a null "
            "without the selected "
            "experts' logits moves tokens off it."
        )
    if len(ceiling):
        texts.append(
            f"Treat {listed(list(ceiling['label']))} as static routing with max_k experts: "
            f"{number(ceiling['ceiling_hit_rate'].min(), 'share')} or more of the decisions are the "
            "ceiling; a smaller α or a "
            "larger max_k gives the test a say."
        )
    return texts


def _measure_next(tables: Tables) -> list[str]:
    alone = found.without_static_rival(tables)
    if alone.empty:
        return []
    highest = alone["avg_experts"].max()
    return [
        f"Measure static top-k with fewer experts next (up to {max(1, math.ceil(highest))}): "
        f"{counted(len(alone), 'adaptive experiment')} "
        "had no static rule of equal budget, so that adaptive routing is not shown to be better or worse "
        "than simply using a "
        "smaller k."
    ]
