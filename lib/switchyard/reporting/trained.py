"""Sections on quality: everything against the trained top-k, all configurations, and what the numbers cannot carry."""

from __future__ import annotations

from switchyard.reporting import comparisons as made
from switchyard.reporting.findings import Findings
from switchyard.reporting.numbers import number
from switchyard.reporting.paper import main_table, markdown
from switchyard.reporting.tables import markdown_table
from switchyard.reporting.verdicts import interval
from switchyard.warehouse.study_tables import Tables


def against_trained(tables: Tables, found: Findings) -> list[str]:
    """Table of paired differences, one row per configuration."""
    frame = made.against_trained(tables)
    if frame.empty:
        return ["The study has no configuration beside the trained one."]
    scored = [name for name in tables.datasets if name in tables.accuracy_datasets]
    header = ["configuration", "mean experts", *(f"`{name}` loss" for name in tables.datasets)]
    header += [f"`{name}` accuracy" for name in scored]
    place = {(row["config_name"], row["dataset"]): row for row in frame.to_dict("records")}
    means = tables.overall.set_index("config_name")["avg_experts"]
    rows = [
        [
            tables.labels[name],
            number(means[name], "experts"),
            *(_loss(place.get((name, dataset))) for dataset in tables.datasets),
            *(_accuracy(place.get((name, dataset))) for dataset in scored),
        ]
        for name in dict.fromkeys(frame["config_name"])
    ]
    label = tables.labels[tables.trained]
    words = (
        f"Loss per target token minus that of the trained {label} in nats with its 95 % interval; above zero is "
        "worse, and bold is what the interval decides. Accuracy as a share of all answers; below zero is worse. "
        f"These {found.counted('trained_intervals', 'interval')} are not corrected for their number: one in twenty "
        "misses the truth by chance alone. Controls that are matched with a configuration are left out."
    )
    return [words, *_above_trained(tables, found), markdown_table(header, rows)]


def everything(tables: Tables) -> list[str]:
    """The main table, without the configurations that are matched with another."""
    frame = main_table(tables)
    controls = tables.configurations.loc[tables.configurations["matched"].notna(), "config_name"]
    frame = frame[~frame["config_name"].isin(controls)].reset_index(drop=True)
    titles = {
        f"{name} {what}": f"`{name}` {what}"
        for name in tables.datasets
        for what in ("perplexity", "accuracy")
    }
    left_out = (
        " Controls that are matched with a configuration stand in the full table only."
        if len(controls)
        else ""
    )
    words = f"Perplexity: lower is better. Accuracy: higher is better. Bold: best of its column.{left_out}"
    return [words, markdown(frame.rename(columns=titles))]


def limits(found: Findings) -> list[str]:
    """What the numbers cannot carry."""
    corrected = (
        "The verdicts at equal compute are corrected for their number; the intervals against the trained top-k "
        "are not. "
        if found.count("matched_configurations")
        else "No interval is corrected for the number of comparisons. "
    )
    return [
        "One model and one calibration text. Intervals and tests cover the choice of samples and nothing else: not "
        f"the choice of calibration text, not the training run. {corrected}What is not distinguishable or undecided "
        "is not shown to be equal: the study may be too small to tell. Perplexities of different datasets are not "
        "comparable."
    ]


def _above_trained(tables: Tables, found: Findings) -> list[str]:
    if not found.count("above_trained_comparisons"):
        return []
    return [
        f"Static rules with more experts than {tables.labels[tables.trained]}: of "
        f"{found.counted('above_trained_comparisons', 'comparison')}, {found.say('above_trained_better')} are "
        f"better, {found.say('above_trained_worse')} worse and {found.say('above_trained_undecided')} undecided. "
        "More experts than trained are no upper anchor of quality: the model never learned to use them."
    ]


def _loss(row: dict | None) -> str:
    if row is None:
        return number(None, "nats_change")
    text = number(row["loss_difference"], "nats_change")
    return f"{f'**{text}**' if row['verdict'] != made.UNDECIDED else text} {interval(row)}"


def _accuracy(row: dict | None) -> str:
    return number(row and row.get("accuracy_difference"), "share_change")
