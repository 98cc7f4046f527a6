"""Sections on equal compute: a verdict for every configuration, the differences, the controls beside them."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from switchyard.reporting import comparisons as made
from switchyard.reporting.findings import Findings
from switchyard.reporting.numbers import listed, number
from switchyard.reporting.tables import cells, markdown_table
from switchyard.warehouse.study_tables import Tables

LONG = 30
"""A set of more configurations has its verdicts in a table."""


def verdicts(tables: Tables, found: Findings) -> list[str]:
    """A sentence for each configuration, grouped by set; a table for a long set."""
    frame = made.verdicts(tables)
    if frame.empty:
        return ["No adaptive configuration was compared at equal compute."]
    parts = []
    for set_name, rows in frame.groupby("set_name", sort=False):
        names = list(dict.fromkeys(rows["config_name"]))
        parts.append(f"### Set `{set_name}`")
        parts.append(
            _verdict_table(tables, found, names)
            if len(names) > LONG
            else "\n".join(f"- {verdict_sentence(tables, found, name)}" for name in names)
        )
    return [*parts, *_without_verdict(tables, found)]


def verdict_sentence(tables: Tables, found: Findings, name: str) -> str:
    """`BH α 0.30, max 16, at 1.38 to 1.52 experts: worse than static top-k at its own budget on 3 of 3 datasets`."""
    place = {"config_name": name}
    at = found.span("experts_lowest", "experts_highest", **place)
    counts = listed(list(_counts(found, "loss", place, of="static top-k at its own budget")))
    total = found.counted("loss_comparisons", "dataset", **place)
    text = f"{tables.labels[name]}, at {at} experts: {counts} of {total} (loss)"
    if found.count("accuracy_comparisons", **place):
        total = found.say("accuracy_comparisons", **place)
        text += f"; accuracy {listed(list(_counts(found, 'accuracy', place)))} of {total}"
    return f"{text}.{_told_apart(tables, name)}"


def _told_apart(tables: Tables, name: str) -> str:
    """` Loss worse on heldout and choice.`, where not all datasets say the same."""
    frame = made.verdicts(tables)
    own = frame[frame["config_name"] == name]
    if own["loss_verdict"].nunique() < 2:
        return ""
    groups = own[own["loss_verdict"] != made.ALIKE].groupby("loss_verdict", sort=False)["dataset"]
    return f" Loss {', '.join(f'{verdict} on {listed(list(names))}' for verdict, names in groups)}."


def differences(tables: Tables) -> list[str]:
    """The table of differences at equal compute, one part to a set; nothing where nothing was compared."""
    frame = made.at_equal_compute(tables)
    if frame.empty:
        return []
    words = (
        "This configuration minus mixed static top-k of the same mean number of experts. Loss in nats per target "
        "token with its 95 % interval, above zero is worse; accuracy in shares of all answers, below zero is worse. "
        "p-values are adjusted by Holm's method; the intervals stand alone and are not."
    )
    parts = [words]
    for set_name, rows in frame.groupby("set_name", sort=False):
        parts += [f"### Set `{set_name}`", _difference_table(rows)]
    return parts


def random_counts(tables: Tables, found: Findings) -> list[str]:
    """Whether it matters which tokens get more experts."""
    frame = made.against_random_counts(tables)
    words = (
        "A random count gives every token as many experts as some other token of the layer got: the same numbers of "
        "experts, dealt out blindly. Loss of the rule minus that of random counts in nats per target token, above "
        f"zero is worse. The rule has the lower loss in {found.say('random_lower_loss')} of "
        f"{found.counted('random_comparisons', 'comparison')}, and the differences run from "
        f"{found.say('random_difference_lowest')} to {found.say('random_difference_highest')}. No test was made of "
        "them."
    )
    names = list(dict.fromkeys(frame["config_name"]))
    rows = [
        [
            tables.labels[name],
            *(
                found.say("random_loss_difference", config_name=name, dataset=dataset)
                for dataset in tables.datasets
            ),
        ]
        for name in names
    ]
    return [words, markdown_table(["configuration", *(f"`{one}` loss" for one in tables.datasets)], rows)]


def budgets(tables: Tables, found: Findings) -> list[str]:
    """What was asked for, the level that was solved for it, and what came out."""
    frame = made.budgets(tables)
    place = tables.results.set_index(["config_name", "dataset"])["avg_experts"]
    rows = [
        [
            row.label,
            found.say("target_mean_experts", config_name=row.config_name),
            number(row.alpha, "level"),
            *(number(place.get((row.config_name, dataset)), "experts") for dataset in tables.datasets),
        ]
        for row in frame.itertuples()
    ]
    words = (
        "α was solved on calibration text for a mean number of experts; on other text the mean is another, by up to "
        f"{found.say('target_gap_largest')} experts here."
    )
    header = ["configuration", "target mean", "solved α", *(f"`{one}`" for one in tables.datasets)]
    return [words, markdown_table(header, rows)]


def _counts(found: Findings, measure: str, place: dict[str, str], of: str = "") -> Iterator[str]:
    """`worse on 2`, `not distinguishable on 1`: the verdicts there are; `of` is what the first is compared with."""
    prepositions = {made.BETTER: "than", made.WORSE: "than", made.ALIKE: "from"}
    for verdict, preposition in prepositions.items():
        finding = f"{measure}_{verdict.replace(' ', '_')}"
        if found.count(finding, **place):
            yield f"{verdict}{f' {preposition} {of}' if of else ''} on {found.say(finding, **place)}"
            of = "it" if of else ""


def _verdict_table(tables: Tables, found: Findings, names: list[str]) -> str:
    measures = [one for one in ("loss", "accuracy") if found.count(f"{one}_comparisons")]
    words = (made.BETTER, made.WORSE, made.ALIKE)
    header = ["configuration", "experts per token"]
    header += [f"{measure}: {word}" for measure in measures for word in words]
    rows = [
        [
            tables.labels[name],
            found.span("experts_lowest", "experts_highest", config_name=name),
            *(
                found.say(f"{measure}_{word.replace(' ', '_')}", config_name=name)
                for measure in measures
                for word in words
            ),
        ]
        for name in names
    ]
    return markdown_table(header, rows)


def _without_verdict(tables: Tables, found: Findings) -> list[str]:
    frame = made.unmatched(tables)
    if frame.empty:
        return []
    sets = listed([f"`{name}`" for name in dict.fromkeys(frame["set_name"])])
    return [
        f"{found.counted('unmatched_configurations', 'adaptive configuration')} (from {sets}) stand in no verdict, "
        "because no mixed static top-k was executed beside them. Naming the sets in `match` of a `mixed_topk` set "
        "changes that."
    ]


def _difference_table(frame: pd.DataFrame) -> str:
    scored = frame["accuracy_verdict"].notna().any()
    header = ["configuration", "dataset", "experts", "experts of static", "loss difference"]
    header += ["95 % interval", "p", "verdict"]
    columns = {"label": str, "dataset": str, "avg_experts": "experts", "against_avg_experts": "experts"}
    parts = [
        cells(frame, {**columns, "loss_difference": "nats_change"}),
        [[interval(row)] for row in frame.to_dict("records")],
        cells(frame, {"loss_p_holm": "p", "loss_verdict": _word}),
    ]
    if scored:
        header += ["accuracy difference", "p", "verdict"]
        extra = {"accuracy_difference": "share_change", "accuracy_p_holm": "p", "accuracy_verdict": _word}
        parts.append(cells(frame, extra))
    rows = [[cell for part in row for cell in part] for row in zip(*parts, strict=True)]
    return markdown_table(header, rows, text_columns=2)


def interval(row: dict) -> str:
    """`[-0.0100, +0.0200]`."""
    ends = (number(row[f"loss_difference_{end}"], "nats_change") for end in ("low", "high"))
    return f"[{', '.join(ends)}]"


def _word(verdict: str | None) -> str:
    return verdict if isinstance(verdict, str) else number(None, "plain")
