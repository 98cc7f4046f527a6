"""The page on the search: its sentences for made-up results, and tables with every row."""

from __future__ import annotations

import pytest

from reference import made_up_search
from switchyard.reporting.search import Evidence, comparisons, dependences, document, paragraph
from switchyard.search.summary import summary


def evidence(**settings) -> Evidence:
    content = {"model": "made-up", "settings": made_up_search.SETTINGS}
    content |= summary(
        made_up_search.rows(**settings),
        made_up_search.SPACES,
        made_up_search.manual(),
        made_up_search.validations(),
    )
    return Evidence(content, made_up_search.sensitivity())


@pytest.fixture(scope="module")
def found() -> Evidence:
    return evidence()


def test_the_paragraph_says_shares_worth_and_verdicts(found):
    text = paragraph(found)
    assert "Space roadmap: of 56 points (" in text and "12.5% failed" in text and "(flat)" in text
    best = max(one["best"]["speed"] for one in found.summary["spaces"]["roadmap"]["by_method"].values())
    assert f"is worth a speed-up of {best:.4f}" in text
    assert "Better than manual tuning: PASS." in text
    assert "the best points of 2 of 3 methods stay within the limit of +0.50%; for 1 the whole" in text
    assert "random in space roadmap" in text and "random in space bh" in text


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("better", "is better than"),
        ("worse", "is worse than"),
        ("not distinguishable", "is not distinguishable"),
    ],
)
def test_the_comparison_of_methods_is_said_either_way(found, verdict, words):
    one = {**found.summary["methods"]["roadmap"], "verdict": verdict}
    (said,) = comparisons({"methods": {"roadmap": one}})
    assert f"the Bayesian search {words}" in said
    assert list(comparisons({"methods": {"roadmap": None}})) == []


def test_the_dimension_that_matters_is_named(found):
    said = list(dependences(found.sensitivity))
    assert said[0] == "In space roadmap speed is the same everywhere."
    assert said[1].startswith(
        "In space bh speed depends most on alpha: over its range the fitted mean moves by 0.5000"
    )


def test_tables_have_every_row(found):
    text = document([found])
    assert text.count("| roadmap | ") == 3 + 1 and text.count("| bh | ") == 3 + 1
    for row in ("| grid | 40 |", "| balanced | tuning |", "| custom | final |"):
        assert row in text


def test_a_search_in_which_all_failed_is_a_page():
    text = document([evidence(fails=True)])
    assert "No point was feasible." in text and "nan" not in text.lower().replace("distinguishable", "")
