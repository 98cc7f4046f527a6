"""The report's first words: the answer, and how it was come by."""

from __future__ import annotations

from switchyard.reporting import comparisons as made
from switchyard.reporting.findings import MEASURES, Findings
from switchyard.reporting.numbers import listed
from switchyard.reporting.tables import markdown_table
from switchyard.warehouse.study_tables import Tables

UNITS = {
    "loss": "nats per target token; above zero is worse",
    "accuracy": "of all answers; below zero is worse",
}


def answer(tables: Tables, found: Findings) -> list[str]:
    """What the study found, in a few sentences, and its verdicts by set."""
    if not found.count("adaptive_rules"):
        return [
            f"The study has no adaptive rule: {found.counted('static_rules', 'static top-k rule')} and nothing that "
            "chooses the number of experts token by token."
        ]
    points = [*_equal_compute(tables, found), _trained(tables, found), _time(found)]
    table = _by_set(tables, found)
    return ["\n".join(f"- {point}" for point in points if point), *([table] if table else [])]


def method(tables: Tables, found: Findings, *, model: str) -> list[str]:
    """What was compared with what, and by which tests."""
    names = listed([f"`{name}`" for name in tables.datasets])
    drawn = f", and {found.counted('controls', 'control')} that draw it" if found.count("controls") else ""
    points = [
        f"**Configurations.** {found.counted('static_rules', 'static top-k rule')} with the same number of experts "
        f"for every token and {found.counted('adaptive_rules', 'adaptive rule')} that choose it token by "
        f"token{drawn}, for the experts of {model} on {found.counted('datasets', 'dataset')} ({names}): "
        f"{found.counted('experiments', 'experiment')}. The model was trained with {tables.labels[tables.trained]}."
    ]
    if len(made.verdicts(tables)):
        points += _equal_compute_method(found)
    points.append(_paired(found))
    return ["\n".join(f"- {point}" for point in points)]


def verdict_counts(found: Findings, measure: str, **place: str) -> str:
    """`1 better, 2 worse and 3 not distinguishable`."""
    count = {word: found.say(f"{measure}_{word.replace(' ', '_')}", **place) for word in _WORDS}
    return listed([f"{number} {word}" for word, number in count.items()])


_WORDS = (made.BETTER, made.WORSE, made.ALIKE)


def _equal_compute(tables: Tables, found: Findings) -> list[str]:
    if not found.count("matched_configurations"):
        sets = ", ".join(dict.fromkeys(made.adaptive(tables)["set_name"]))
        return [
            "**Equal compute: not compared.** No mixed static top-k was executed beside any adaptive rule, so that "
            "the study cannot say whether choosing the number of experts token by token does better than spending "
            f"the same number evenly. The set `mixed: {{rule: mixed_topk, match: [{sets}]}}` among the `rules` "
            "switches the comparison on."
        ]
    measured = [measure for measure in MEASURES if found.count(f"{measure}_comparisons")]
    return [*(_measure(found, measure) for measure in measured), f"**What that means.** {_meaning(found)}"]


def _measure(found: Findings, measure: str) -> str:
    comparisons = found.counted(f"{measure}_comparisons", "comparison")
    span = found.span(f"{measure}_difference_lowest", f"{measure}_difference_highest")
    return (
        f"**Equal compute, {measure}.** Of {comparisons} with static top-k of the same mean number of experts, "
        f"{verdict_counts(found, measure)}. Differences: {span} {UNITS[measure]}."
    )


def _meaning(found: Findings) -> str:
    better, worse, alike = (found.count(f"loss_{word.replace(' ', '_')}") for word in _WORDS)
    where = "wherever the two can be told apart" if alike else "in every comparison"
    if better and worse:
        return (
            "Whether it pays to choose the number of experts token by token depends on rule and dataset: of "
            f"{found.counted('matched_configurations', 'configuration')}, {found.say('configurations_better')} are "
            f"better on some dataset and worse on none, {found.say('configurations_worse')} are worse on some and "
            "better on none, by their loss; the verdicts below say which."
        )
    if worse:
        return (
            "Choosing the number of experts token by token cost quality: the same number spent evenly has lower loss "
            f"{where}, and higher loss in none."
        )
    if better:
        return (
            "Choosing the number of experts token by token paid: it has lower loss than the same number spent evenly "
            f"{where}, and higher loss in none."
        )
    return (
        "No rule can be told from spending the same number of experts evenly. That is not equality: the 95 % "
        f"intervals of the loss reach from {found.say('loss_interval_lowest')} to "
        f"{found.say('loss_interval_highest')}."
    )


def _trained(tables: Tables, found: Findings) -> str:
    label = tables.labels[tables.trained]
    if not found.count("trained_saving"):
        return f"**Against the trained {label}.** No adaptive rule uses fewer experts."
    return (
        f"**Against the trained {label}.** In {found.say('trained_saving')} of "
        f"{found.counted('trained_comparisons', 'comparison')} the adaptive rule uses fewer experts; the loss of "
        f"these is {found.say('trained_better')} times better, {found.say('trained_worse')} times worse and "
        f"{found.say('trained_undecided')} times undecided, by uncorrected intervals."
    )


def _time(found: Findings) -> str:
    if found.count("partner_configurations"):
        span = found.span("partner_ratio_lowest", "partner_ratio_highest")
        return f"**Time.** Prefill ran at {span} times the speed of static top-k with the mean over the datasets."
    if found.count("speed_configurations"):
        span = found.span("speedup_lowest", "speedup_highest")
        return f"**Time.** With fewer experts, prefill ran at {span} times the speed of the trained top-k."
    return ""


def _by_set(tables: Tables, found: Findings) -> str | None:
    """Verdicts of every set, where there are several."""
    sets = list(dict.fromkeys(made.verdicts(tables)["set_name"]))
    if len(sets) < 2:
        return None
    measured = [measure for measure in MEASURES if found.count(f"{measure}_comparisons")]
    header = ["set", "configurations", "experts per token"]
    header += [f"{measure}: {word}" for measure in measured for word in _WORDS]
    rows = []
    for name in sets:
        place = {"set_name": name}
        row = [f"`{name}`", found.say("matched_configurations", **place)]
        row.append(found.span("experts_lowest", "experts_highest", **place))
        row += [
            found.say(f"{measure}_{word.replace(' ', '_')}", **place)
            for measure in measured
            for word in _WORDS
        ]
        rows.append(row)
    return markdown_table(header, rows)


def _equal_compute_method(found: Findings) -> list[str]:
    families = [
        f"the {found.say(f'{measure}_family')} comparisons of {measure}"
        for measure in MEASURES
        if found.count(f"{measure}_family")
    ]
    many = "two families" if len(families) > 1 else "one family"
    points = [
        f"**Equal compute.** For {found.counted('matched_configurations', 'adaptive configuration')} a mixed static "
        "top-k was executed on every dataset: each token gets k experts or one more by a draw that does not look at "
        "the token, so that the mean is that of the adaptive rule on the same dataset (the counted means differ by "
        f"at most {found.say('budget_gap_largest')} experts). Code, model and weighting are the same; the two differ "
        "only in which tokens get more experts, and in which layers.",
        "**Tests.** Loss: the difference per target token, its bootstrap 95 % interval and p-value over samples. "
        "Accuracy: McNemar's test on the samples that only one of the two answers correctly.",
    ]
    if not families:
        return points
    return [
        *points,
        f"**Many comparisons.** p-values are adjusted by Holm's method in {many} of the study: {listed(families)}. "
        "A verdict is better or worse where the adjusted p is below 0.05, by the sign of the difference, otherwise "
        "not distinguishable.",
    ]


def _paired(found: Findings) -> str:
    size = ""
    if found.value("samples_fewest") is not None:
        size = f" ({found.span('samples_fewest', 'samples_most')} to a dataset)"
    return f"**Pairing.** Every difference is taken sample by sample, on the same samples{size}."
