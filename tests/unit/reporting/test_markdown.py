import dataclasses
import re

import pytest

from switchyard.reporting.markdown import report, write_report


def text_of(tables, **options):
    return report(tables, study="made-up", model="a model", **options)


def section(text, title):
    return re.search(rf"## {title}\n\n(.*?)(?=\n\n## |\Z)", text, re.S).group(1)


def test_when_bh_loses_it_says_so(made_up):
    text = text_of(made_up("loses"))
    assert "0 better, 48 worse and 0 undecided" in section(text, "Findings")
    advice = section(text, "Recommendations")
    assert "Stay with top-8 where quality counts" in advice
    assert "is the cheapest adaptive rule" not in advice


def test_when_bh_wins_it_says_so(made_up):
    text = text_of(made_up("wins"))
    assert "48 better, 0 worse and 0 undecided" in section(text, "Findings")
    advice = section(text, "Recommendations")
    assert (
        "BH α 0.30, max 8 is the cheapest adaptive rule not measurably worse" in advice
        and "better on 3 of 3 datasets" in advice
    )
    assert "Stay with" not in advice


def test_when_all_is_tied_it_claims_nothing(made_up):
    text = text_of(made_up("tied"))
    assert "0 better, 0 worse and 48 undecided" in section(text, "Findings")
    advice = section(text, "Recommendations")
    assert (
        "not measurably worse" in advice
        and "better on" not in advice
        and "still allow +0.0100 nats" in advice
    )
    assert "Leave out" not in advice
    assert "No configuration is dominated." in text


def test_losing_to_static_at_the_same_budget_is_named(made_up):
    tables = made_up("loses")
    static = tables.results["routing_type"] == "topk"
    results = tables.results.assign(avg_experts=tables.results["avg_experts"].mask(static, 1.0))
    part = section(
        text_of(dataclasses.replace(tables, results=results)), "Against static top-k at the same budget"
    )
    assert "48 lose to it in perplexity" in part
    assert "| BH α 0.30, max 8 | held_out_text |" in part


def test_without_a_cheap_static_rule_the_question_stays_open(made_up):
    text = text_of(made_up("wins"))
    assert "no static rule was measured" in section(text, "Findings")
    assert "Static rules with k below 8 would tell" in text
    assert "Measure static top-k with fewer experts next" in section(text, "Recommendations")


def test_a_rule_on_the_floor_is_not_called_adaptive(made_up):
    assert "Do not read 8 configurations as adaptive" in section(text_of(made_up()), "Recommendations")


@pytest.mark.parametrize("shape", [{"alphas": ()}, {"caps": (8,), "alphas": (0.5,), "datasets": ("cloze",)}])
def test_odd_studies_have_a_report(made_up, shape):
    text = text_of(made_up(**shape))
    assert not re.search(r"\bnan\b", text) and "None" not in text
    assert re.search(r"^1\. ", section(text, "Recommendations"), re.M)


def test_a_study_of_static_rules_gives_no_advice_on_adaptive_ones(made_up):
    assert "no adaptive rule" in section(text_of(made_up(alphas=())), "Recommendations")


def test_numbers_in_the_text_are_numbers_of_the_tables(made_up):
    tables = made_up()
    shown = set(
        re.findall(
            r"(?<![\d.])\d{2}\.\d{2}(?![\d%])", section(text_of(tables), "Best quality at each budget")
        )
    )
    allowed = {f"{value:#.4g}" for value in tables.results["perplexity"]}
    allowed |= {f"{value:.2f}" for value in tables.results["avg_experts"]}
    assert shown and shown <= allowed


def test_same_text_twice_and_the_stamp_at_its_end(made_up, tmp_path):
    write_report(tmp_path / "report.md", made_up(), study="made-up", model="a model", stamp={"code": "abc"})
    text = (tmp_path / "report.md").read_text()
    assert text == text_of(made_up(), stamp={"code": "abc"})
    assert '"code": "abc"' in section(text, "Provenance")


def test_the_machine_is_named(made_up):
    assert "Speed holds for a toaster" in text_of(made_up(), machine="a toaster")


def test_fewer_experts_that_run_slower_are_not_called_fast(made_up):
    tables = made_up("wins")
    adaptive = tables.results["routing_type"] == "bh"
    slow = tables.results.assign(tokens_per_second=tables.results["tokens_per_second"].mask(adaptive, 900.0))
    text = text_of(dataclasses.replace(tables, results=slow))
    assert "It did not pay in time: prefill ran at 0.20 times" in section(text, "Recommendations")
    assert "16 ran slower than top-8 in prefill" in section(text, "Findings")
    assert "Use it where time counts" in section(text_of(tables), "Recommendations")


def test_speed_that_was_not_measured_is_not_judged(made_up):
    tables = made_up("wins")
    unmeasured = dataclasses.replace(tables, results=tables.results.assign(tokens_per_second=float("nan")))
    text = text_of(unmeasured)
    assert "Its speed was not measured." in text and "ran slower" not in text
