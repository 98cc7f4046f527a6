"""The page on VAR: its sentences for made-up results, and tables with every row."""

from __future__ import annotations

import pandas as pd
import pytest

from reference import made_up_var
from switchyard.reporting.var import (
    Evidence,
    beginning,
    cache,
    ceilings,
    comparison_table,
    criteria_table,
    document,
    fewer_experts,
    no_key,
    paragraph,
    presets,
    slowdown,
    unharmed,
    whole_table,
)


def evidence(**settings: bool) -> Evidence:
    acts, held_out = settings.get("acts", True), settings.get("held_out", True)
    comparison = {"model": "made-up", "comparisons": made_up_var.comparisons()}
    found = made_up_var.ceiling(held_out=held_out), made_up_var.context(held_out=held_out)
    return Evidence(comparison, made_up_var.sweep(acts=acts), *found)


@pytest.fixture(scope="module")
def sweep() -> pd.DataFrame:
    return made_up_var.sweep()


def test_defaults_that_never_act_are_said_first() -> None:
    text = presets(made_up_var.comparisons())
    assert text.startswith(
        "At its defaults VAR never leaves the learned path on this model. Neither do conservative."
    )
    assert text.endswith(
        "The configuration custom looks 35.0% of the tokens of tuning up and changes its perplexity by +12.5%, which "
        "is worse (p 0.008)."
    )


def test_defaults_that_act_are_said_to() -> None:
    text = presets(made_up_var.comparisons(idle=("conservative",)))
    assert text.startswith(
        "The learned path is never left by conservative. At its defaults VAR looks 35.0% of the"
    )
    assert presets(made_up_var.comparisons(idle=())).startswith("The configuration conservative looks 35.0%")


def test_a_better_configuration_and_one_without_a_difference_are_said_to_be_so() -> None:
    found = made_up_var.comparisons(idle=())
    for one in found:
        one["quality"] = {**one["quality"], "perplexity_change": -0.02}
        one["quality"]["loss"] = {**one["quality"]["loss"], "difference": -0.02}
    assert "by -2.0%, which is better (p 0.008)" in presets(found)
    for one in found:
        one["quality"]["loss"]["significant"] = False
    assert "which is not distinguishable from no change" in presets(found)


def test_speed_is_a_range_over_the_configurations() -> None:
    found = made_up_var.comparisons()
    for place, one in enumerate(found):
        one["speed"] = {
            "prefill": {"ratio": 0.8 + 0.01 * place},
            "latency_p50": {"ratio": 1.2 - 0.1 * place},
        }
    assert slowdown(found[::2]) == (
        "Side by side with the untouched model its configurations run prefill at 0.80 to 0.84 and decoding at 0.80 to "
        "1.20 times its speed."
    )
    assert slowdown(made_up_var.comparisons(timed=False)) == ""


def test_where_the_table_begins_to_act(sweep) -> None:
    assert beginning(sweep) == (
        "The lowest entropy threshold that was tried and acts, 1.250 nats, looks 10.0% of the tokens up; with 2 "
        "experts and the weights of the model's own router this costs +0.0500 nats per token [+0.0490, +0.0510] "
        "(not distinguishable)."
    )
    assert "No entropy threshold" in beginning(made_up_var.sweep(acts=False))


def test_selection_and_weights_are_told_apart(sweep) -> None:
    text = whole_table(sweep)
    assert (
        "90.0% of the tokens, costs +0.4500 nats per token [+0.4490, +0.4510] (worse) with the router's own"
        in text
    )
    assert "and +0.6750 nats per token" in text and "It saves 1.8% of the operations" in text
    assert whole_table(made_up_var.sweep(acts=False)) == ""
    assert whole_table(sweep[sweep["fast_path_experts"] != 2]) == ""  # their saving is of experts


def test_fewer_experts_are_compared_with_static_rules(sweep) -> None:
    text = fewer_experts(sweep)
    assert text.startswith(
        "With 1 expert on the fast path instead of 2, the cheapest point runs 71.2% of the operations"
    )
    assert "which runs 72.2% to 98.3% of their operations" in text  # 0.7 of 0.97 and of 0.712
    assert text.endswith("4 points with fewer experts: 2 better, 2 worse, 0 not distinguishable.")
    alone = sweep.assign(static_k=None)
    assert fewer_experts(alone).endswith("No static top-k costs as little.")
    assert fewer_experts(sweep[sweep["fast_path_experts"] != 1]) == ""


def test_the_cache_is_told_from_its_longest_key_to_its_shortest(sweep) -> None:
    text = cache(sweep)
    assert "with keys of 5 tokens at most 2.0% of the tokens at +0.0050" in text
    assert text.index("5 tokens") < text.index("with keys of 1 token at most 40.0%")
    assert cache(sweep[sweep["kind"] != "cache"]) == ""
    assert "with keys of 1 token none of the tokens" in cache(sweep.assign(coverage=0.0))


def test_points_that_cost_nothing_measurable(sweep) -> None:
    assert unharmed(sweep) == (
        "Of 12 points that act, 6 are not measurably worse than the untouched model; the cheapest of these saves 0.2% "
        "of the operations with 10.0% of the tokens looked up."
    )
    assert unharmed(sweep.assign(verdict="worse")) == (
        "Each of 12 points that acts is measurably worse than the untouched model."
    )


def test_a_sweep_that_never_acts_is_said_to() -> None:
    still = made_up_var.sweep(acts=False)
    assert unharmed(still[still["kind"] != "cache"]) == "No point of the sweep looks anything up."


def test_the_token_id_is_worth_what_a_table_without_a_key_loses(sweep) -> None:
    assert no_key(sweep).endswith(
        "cost +3.6000 nats per token [+3.5990, +3.6010] (worse), 8.00 times what the table by token id does."
    )
    assert no_key(made_up_var.sweep(acts=False)).endswith("(worse).")
    assert no_key(sweep.assign(verdict="not distinguishable")).endswith("(not distinguishable).")


def test_ceilings_are_spans_over_the_layers() -> None:
    text = ceilings(made_up_var.ceiling(), made_up_var.context())
    assert text.endswith(
        "over the layers, 20.0% being chance: keyed by one list for all tokens 25.0%; by the token id 50.0% to 75.0%; "
        "by the token id and 1 token before it 60.0% to 80.0%."
    )
    assert ceilings(made_up_var.ceiling(held_out=False), made_up_var.context(held_out=False)) == ""


@pytest.mark.parametrize("settings", [{}, {"acts": False}, {"held_out": False}])
def test_a_paragraph_is_whole_whatever_happened(settings) -> None:
    text = paragraph(evidence(**settings))
    assert text.startswith("At its defaults") and text.endswith(".") and "  " not in text
    assert "nan" not in text and "None" not in text and "–" not in text


def test_every_configuration_and_set_has_a_row() -> None:
    rows = comparison_table(made_up_var.comparisons()).splitlines()
    assert len(rows) == 2 + 6
    assert (
        "| custom | tuning | 40 | 7.389 | 8.373 | +12.5% | [+11.5%, +13.5%] | 0.008 | – | 1.30 | [1.10, 1.50]"
        in rows[6]
    )
    assert "| -10.0% |" in rows[7] and "| 30.0% | 5.0% | 65.0% |" in rows[7]
    assert "| – | – | – | 0.0% |" in comparison_table(made_up_var.comparisons(timed=False))


def test_criteria_have_verdict_grade_and_what_was_measured() -> None:
    own = [one for one in made_up_var.comparisons() if one["dataset"] == "tuning"]
    rows = {tuple(line.split(" | ")[:2]): line for line in criteria_table(own).splitlines()[2:]}
    assert len(rows) == 7
    assert rows["| perplexity", "README"].endswith(
        "| PASS, Excellent (0.0%) | PASS, Excellent (0.0%) | FAIL, Insufficient (+12.5%) |"
    )
    assert rows["| pass@1", "roadmap"].endswith("| not measured | not measured | not measured |")
    assert "PASS (1.30)" in rows["| speed-up", "roadmap"]


def test_criteria_without_speed_are_not_measured() -> None:
    own = [one for one in made_up_var.comparisons(timed=False) if one["dataset"] == "tuning"]
    assert sum(line.count("not measured") for line in criteria_table(own).splitlines()) == 4 * 3


def test_a_document_has_a_section_for_each_model() -> None:
    text = document([evidence(), evidence()])
    assert text.count("## made-up\n") == 2 and text.count("### Criteria on tuning\n") == 2
    assert "### Criteria on tuning-cloze" not in text
