"""Recommendations that follow from the tables; each names the numbers it rests on, none is given without them."""

from __future__ import annotations

from collections.abc import Iterator

from switchyard.reporting import comparisons as made
from switchyard.reporting.findings import Findings
from switchyard.reporting.numbers import listed
from switchyard.warehouse.study_tables import Tables


def recommendations(tables: Tables, found: Findings) -> list[str]:
    """One list of advice, as a paragraph of Markdown."""
    if not found.count("adaptive_rules"):
        label = tables.labels[tables.trained]
        advice = [
            f"Stay with {label}: the study has no adaptive rule to compare it with.",
            *_smaller_k(tables, found),
        ]
    else:
        parts = (_equal_compute, _against_trained, _smaller_k, _time, _bounds)
        advice = [text for part in parts for text in part(tables, found)]
    return ["\n".join(f"{place}. {text}" for place, text in enumerate(advice, start=1))]


def _equal_compute(tables: Tables, found: Findings) -> Iterator[str]:
    if not found.count("matched_configurations"):
        return
    better, worse = found.count("loss_better"), found.count("loss_worse")
    total = found.counted("loss_comparisons", "comparison")
    if better and worse:
        yield (
            "Choose by rule and dataset, from the verdicts above: at equal compute the loss is better "
            f"{found.say('loss_better')} and worse {found.say('loss_worse')} times in {total}."
        )
    elif worse:
        yield (
            "Do not let these rules choose the number of experts: at equal compute their loss is worse than that of "
            f"static top-k in {found.say('loss_worse')} of {total}, and better in none."
        )
    elif better:
        yield (
            "Let an adaptive rule choose the number of experts: at equal compute its loss is better than that of "
            f"static top-k in {found.say('loss_better')} of {total}, and worse in none. {_best(tables)}"
        )
    else:
        yield (
            f"Choose by cost, not by quality: in {total} of the loss at equal compute no adaptive rule can be told "
            "from static top-k."
        )


def _best(tables: Tables) -> str:
    """The configuration whose worst dataset is best."""
    worst = made.verdicts(tables).groupby("config_name", sort=False)["loss_difference"].max()
    return f"The surest gain is that of {tables.labels[worst.idxmin()]}."


def _against_trained(tables: Tables, found: Findings) -> Iterator[str]:
    frame = made.against_trained_by_configuration(tables)
    cheaper = frame[frame["adaptive"] & frame["saves"]]
    label = tables.labels[tables.trained]
    if cheaper.empty:
        yield f"Stay with {label}: no adaptive configuration uses fewer experts on every dataset."
        return
    kept = cheaper[cheaper["worse"] == 0]
    if len(kept):
        yield _kept(tables, found, kept.iloc[0]["config_name"])
        return
    least = cheaper.loc[cheaper["cost"].idxmin(), "config_name"]
    yield (
        f"Stay with the trained {label} where quality counts: every adaptive configuration with fewer experts is "
        f"measurably worse on some dataset, by uncorrected intervals. The least costly, {tables.labels[least]}, loses "
        f"up to {found.say('trained_cost', config_name=least)} nats per target token{_better(found, least)}."
    )


def _kept(tables: Tables, found: Findings, name: str) -> str:
    """The cheapest configuration that is not worse than the trained one."""
    place = {"config_name": name}
    allowed = found.value("trained_allowed", **place)
    room = (
        f"the intervals still allow {found.say('trained_allowed', **place)} nats per target token"
        if allowed is not None and allowed > 0
        else "every interval is below zero"
    )
    ratio = found.value("speedup", **place)
    time = (
        "its speed was not measured"
        if ratio is None
        else f"prefill ran at {found.say('speedup', **place)} times the speed"
    )
    return (
        f"{tables.labels[name]} is the cheapest adaptive rule not measurably worse than the trained "
        f"{tables.labels[tables.trained]} on any dataset{_better(found, name)}; {room}, and {time}.{_but(found, place)}"
    )


def _better(found: Findings, name: str) -> str:
    """`, and is better on 1 of 3 datasets`; nothing where it is better on none."""
    place = {"config_name": name}
    if not found.count("trained_better", **place):
        return ""
    total = found.counted("trained_datasets", "dataset", **place)
    return f", and is better on {found.say('trained_better', **place)} of {total}"


def _but(found: Findings, place: dict[str, str]) -> str:
    """Where static top-k does better at the same mean number of experts."""
    if not found.count("loss_worse", **place):
        return ""
    total = found.counted("loss_comparisons", "dataset", **place)
    return (
        " But static top-k of the same mean number of experts does better: by its loss the rule is worse on "
        f"{found.say('loss_worse', **place)} of {total}."
    )


def _smaller_k(tables: Tables, found: Findings) -> Iterator[str]:
    """What static top-k below the trained k costs: the plain alternative."""
    frame = made.against_trained_by_configuration(tables)
    frame = frame[frame["static"] & frame["saves"]]
    if frame.empty:
        return
    kept = frame[frame["worse"] == 0]
    if len(kept):
        name = kept.iloc[0]["config_name"]
        yield (
            f"{tables.labels[name]} is the smallest static k not measurably worse than the trained "
            f"{tables.labels[tables.trained]}; its intervals still allow "
            f"{found.say('trained_allowed', config_name=name)} nats per target token."
        )
        return
    name = frame.loc[frame["cost"].idxmin(), "config_name"]
    yield (
        f"{tables.labels[name]} is the least costly smaller static k, and measurably worse than the trained "
        f"{tables.labels[tables.trained]} on some dataset: by up to {found.say('trained_cost', config_name=name)} nats "
        f"per target token{_better(found, name)}."
    )


def _time(tables: Tables, found: Findings) -> Iterator[str]:
    measured, slower = found.count("speed_configurations"), found.count("slower_than_trained")
    if not measured:
        return
    if slower:
        yield (
            f"Do not take it that fewer experts save time: {found.say('slower_than_trained')} of "
            f"{found.counted('speed_configurations', 'cheaper adaptive configuration')} ran slower than the trained "
            f"{tables.labels[tables.trained]} in prefill, and all at "
            f"{found.span('speedup_lowest', 'speedup_highest')} times its speed on the machine measured."
        )
        return
    yield (
        f"Fewer experts saved time: {found.counted('speed_configurations', 'cheaper adaptive configuration')} ran at "
        f"{found.span('speedup_lowest', 'speedup_highest')} times the prefill speed of "
        f"{tables.labels[tables.trained]} on the machine measured."
    )


def _bounds(tables: Tables, found: Findings) -> Iterator[str]:
    parts = []
    if found.count("mostly_floor"):
        span = found.span("mostly_floor_lowest", "mostly_floor_highest")
        parts.append(
            f"{found.counted('mostly_floor', 'configuration')} with {span} of the (layer, token) on the floor"
        )
    if found.count("mostly_ceiling"):
        parts.append(
            f"{found.counted('mostly_ceiling', 'configuration')} with "
            f"{found.say('mostly_ceiling_lowest')} or more of the (layer, token) on the ceiling"
        )
    if parts:
        yield f"Little is left to vary for {listed(parts)}."
