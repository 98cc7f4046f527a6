import dataclasses

import pandas as pd
import pytest

from switchyard.reporting import findings


def naive_dominated(tables):
    rows = {(row.config_name, row.dataset): row for row in tables.results.itertuples()}
    names = list(tables.configs["config_name"])

    def beats(one, other):
        pairs = [(rows[one, dataset], rows[other, dataset]) for dataset in tables.datasets]
        return all(
            a.avg_experts <= b.avg_experts and a.perplexity < b.perplexity
            and (pd.isna(a.avg_task_accuracy) or a.avg_task_accuracy >= b.avg_task_accuracy)
            for a, b in pairs
        )  # fmt: skip

    return {name for name in names if any(beats(other, name) for other in names)}


@pytest.mark.parametrize("outcome", ["loses", "wins", "tied"])
def test_dominated_is_what_the_definition_says(made_up, outcome):
    tables = made_up(outcome)
    assert set(findings.dominated(tables)["config_name"]) == naive_dominated(tables)


@pytest.mark.parametrize(
    ("outcome", "verdict"), [("loses", "worse"), ("wins", "better"), ("tied", "undecided")]
)
def test_verdicts_follow_the_intervals(made_up, outcome, verdict):
    frame = findings.verdicts(made_up(outcome))
    assert set(frame.loc[~frame["static"], "verdict"]) == {verdict}


def test_an_interval_that_is_not_defined_decides_nothing(made_up):
    tables = made_up()
    blank = tables.differences.assign(loss_difference_low=None, loss_difference_high=None).astype(
        {"loss_difference_low": float, "loss_difference_high": float}
    )
    frame = findings.verdicts(dataclasses.replace(tables, differences=blank))
    assert set(frame["verdict"]) == {"undecided"}


def test_best_at_budget_keeps_to_the_budget(made_up):
    tables = made_up()
    best = findings.best_at_budget(tables)
    assert (best["avg_experts"] <= best["budget"]).all()
    for row in best.itertuples():
        fits = tables.results[
            (tables.results["dataset"] == row.dataset) & (tables.results["avg_experts"] <= row.budget)
        ]
        assert row.perplexity == fits["perplexity"].min()


def test_equals_are_counted(made_up):
    best = findings.best_at_budget(made_up("tied"))
    assert set(best.loc[best["budget"] == 64, "equals"]) == {20}


def test_static_rivals(made_up):
    tables = made_up()
    assert findings.beaten_by_static(tables).empty
    assert len(findings.without_static_rival(tables)) == 48
    cheaper = tables.results.assign(
        avg_experts=tables.results["avg_experts"].where(tables.results["routing_type"] != "topk", 1.0)
    )
    rivals = dataclasses.replace(tables, results=cheaper)
    assert len(findings.beaten_by_static(rivals)) == 48
    assert findings.without_static_rival(rivals).empty


def test_keepers(made_up):
    assert findings.keepers(made_up("loses")).empty
    kept = findings.keepers(made_up("wins"))
    assert len(kept) == 16 and set(kept["better"]) == {3}
    assert kept["avg_experts"].is_monotonic_increasing
