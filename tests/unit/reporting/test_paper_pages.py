"""The paper: tables against plain loops, macros that are cells, and sources without a typed digit."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reference import made_up_search, made_up_var
from switchyard.reporting.findings import findings as findings_of
from switchyard.reporting.latex import escaped, macro, tabular
from switchyard.reporting.numbers import number
from switchyard.reporting.paper_numbers import (
    claims,
    letters_of,
    numbers_table,
    numbers_tex,
    of_findings,
    of_var,
)
from switchyard.reporting.paper_tables import (
    COST_METRICS,
    ROUTING_METRICS,
    ablation,
    downstream,
    league,
    performance,
    routing_by_frequency,
    sensitivity,
    verdicts,
)

PAPER = Path(__file__).parents[3] / "paper"
SOURCES = [path for path in sorted(PAPER.glob("*.tex")) if path.name != "preamble.tex"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_digit_is_typed_in_the_paper(path: Path) -> None:
    text = path.read_text()
    for allowed in (
        r"\\(?:label|ref|cite|input|includegraphics|setlength)(?:\[[^]]*\])?\{[^}]*\}(?:\{[^}]*\})?",
    ):
        text = re.sub(allowed, "", text)
    assert not re.findall(r"\d", text)
    assert not re.search(r"olmoe|mixtral", text, re.IGNORECASE)  # names of models are macros


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_table_and_figure_that_is_named_is_made(path: Path) -> None:
    rules = (PAPER.parent / "rules/publish.smk").read_text()
    made = {
        name: re.findall(r'"(\w+)"', re.search(rf"PAPER_{name} = \[(.*?)\]", rules, re.DOTALL)[1])
        for name in ("TABLES", "FIGURES")
    }
    text = path.read_text()
    tables = re.findall(r"\\input\{tables/(\w+)\}", text) + re.findall(r"\\wide\{(\w+)\}", text)
    assert set(tables) <= set(made["TABLES"]) and tables
    assert set(re.findall(r"figures/(\w+)\}", text)) <= set(made["FIGURES"])
    extras = re.search(r"PAPER_EXTRAS = \{(.*?)\n\}", rules, re.DOTALL)[1]
    assert set(re.findall(r"\\onlyifmade\{(\w+)\}", text)) <= set(re.findall(r'"(\w+)": \[', extras))
    added = set(re.findall(r'PAPER_TABLES \+= \["(\w+)"\]', rules))
    assert set(re.findall(r"\\onlytable\{(\w+)\}", text)) <= added


def test_every_macro_that_is_used_is_defined(made_up, derived) -> None:
    frame = pd.DataFrame(findings_of(derived(made_up("varied", controls=True))))
    text = numbers_tex(
        list(of_findings(frame)),
        {"ClaimRouting": "a", "ClaimVar": "b", "StudyName": "s", "Commit": "c", "Versions": "v"},
    )
    defined = set(re.findall(r"\\newcommand\{\\(\w+)\}", text))
    used = {name for path in SOURCES for name in re.findall(r"\\([A-Z][A-Za-z]+)", path.read_text())}
    assert used - {"PassOptionsToPackage"} <= defined


def test_every_number_is_the_cell_that_it_names(made_up, derived) -> None:
    frame = pd.DataFrame(findings_of(derived(made_up("varied", controls=True))))
    table = numbers_table(list(of_findings(frame)))
    assert len(table) > 8
    for one in table.itertuples():
        cell = frame
        for part in one.row.split(","):
            column, value = part.split("=")
            cell = cell[cell[column] == value]
        assert len(cell) == 1
        assert cell[one.column].iloc[0] == one.value or pd.isna(one.value)


def test_numbers_of_var_follow_the_comparison() -> None:
    found = {"one": made_up_var.comparisons()}
    numbers = {one.macro: one for one in of_var(found, letters_of(["one"]))}
    assert numbers["VarCustomLearnedA"].value == pytest.approx(0.65)
    assert numbers["VarCustomChangeA"].printed == r"+12.5\%"
    assert set(numbers) == {
        f"Var{name}{what}A"
        for name in ("Conservative", "Balanced", "Custom")
        for what in ("Learned", "Change")
    }


def test_claims_are_the_sentences_of_the_report() -> None:
    answer = "<p><strong>one.</strong> It cost quality &amp; time.</p>\n"
    found = claims(answer, {"one": made_up_var.comparisons()})
    assert found["ClaimRouting"] == "one. It cost quality & time."
    assert found["ClaimVar"].startswith("one: At its defaults VAR never leaves")


def test_a_name_of_a_macro_has_letters_only() -> None:
    assert macro("ModelA", "x") == "\\newcommand{\\ModelA}{x}\n"
    with pytest.raises(ValueError, match="Model1"):
        macro("Model1", "x")


def test_text_that_latex_would_read_is_escaped() -> None:
    assert escaped("a_b 5 % & $x$ {α}") == r"a\_b 5 \% \& \$x\$ \{$\alpha$\}"
    frame = pd.DataFrame({"set": ["a_b", None], "share": [0.5, np.nan]})
    assert tabular(frame, {"share": "share"}).splitlines()[4:6] == [r"a\_b & 50.0\% \\", r"-- & -- \\"]
    assert r"\endhead" in tabular(frame, {"share": "share"}, long=True)


def test_routing_by_frequency_is_that_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    tokens = 150
    frequency = rng.permutation(tokens) + 1
    stats = pd.DataFrame(
        {
            "layer": np.repeat([0, 1], tokens),
            "token_id": np.tile(np.arange(tokens), 2),
            "frequency": np.tile(frequency, 2),
            "mean_entropy": rng.uniform(0, 1, 2 * tokens),
            "routing_consistency": rng.uniform(0, 1, 2 * tokens),
        }
    )
    found = routing_by_frequency({"one": stats}, {"frequency_threshold": 50, "entropy_threshold": 0.5}).frame
    for row, ids in zip(
        found.itertuples(), (np.argsort(-frequency)[:100], np.argsort(-frequency)[100:]), strict=True
    ):
        own = [one for one in stats.itertuples() if one.token_id in ids]
        assert row[3] == len(ids)
        assert row[4] == pytest.approx(np.mean([one.mean_entropy for one in own]))
        assert row[8] == pytest.approx(
            np.mean([one.frequency >= 50 and one.mean_entropy < 0.5 for one in own])
        )


def test_the_ablation_has_a_row_for_each_component() -> None:
    rows = made_up_search.ablation()
    frame, kinds = ablation({"one": rows, "two": rows})
    assert len(frame) == 2 * len(rows) and set(kinds) < set(frame.columns)
    assert frame["without"].tolist()[:3] == ["(the whole rule)", "fast path", "cache"]
    assert frame["difference"].tolist()[1] == 0.01 and "--" in tabular(frame, kinds)


def test_sensitivity_is_the_range_of_the_means() -> None:
    rows = made_up_search.sensitivity()
    frame, kinds = sensitivity({"one": rows})
    assert len(frame) == len(rows.groupby(["space", "dimension"])) and len(kinds) == 4
    for one in frame.to_dict("records"):
        own = rows[(rows["space"] == one["space"]) & (rows["dimension"] == one["dimension"])]
        for column, words in {"speed": "speed-up", "degradation": "perplexity"}.items():
            means = own[own["column"] == column]["mean"]
            assert one[f"change of {words}"] == max(means) - min(means)
            assert one[f"s.d. of {words}"] == 0.0625


def test_tables_of_var_hold_what_was_compared() -> None:
    found = {"one": made_up_var.comparisons()}
    table = downstream(found).frame
    assert len(table) == len(found["one"])
    assert table["difference"].tolist() == [one["quality"]["loss"]["difference"] for one in found["one"]]
    speeds = {
        "timings": {
            name: {
                key: [2.0, 1.0, 4.0]
                for key in ("prefill_seconds", "decode_p50_ms", "decode_p95_ms", "decode_p99_ms")
            }
            for name in ("baseline", "custom")
        }
    }
    timed = performance({"one": speeds}, found).frame.set_index("configuration")
    assert timed.loc["custom", "P95 (ms)"] == 2.0 and timed.loc["baseline", "speed-up"] == 1.0


def test_the_league_ranks_by_the_loss_at_equal_compute(made_up, derived) -> None:
    frame = pd.DataFrame(findings_of(derived(made_up("varied", controls=True))))
    table = league(frame).frame
    assert len(table) and table["mean loss difference"].is_monotonic_increasing
    experiments = frame[frame["level"] == "experiment"]
    first = frame[
        (frame["level"] == "configuration") & (frame["label"] == table["configuration"].iloc[0])
    ].iloc[0]
    own = experiments[experiments["config_name"] == first["config_name"]]["loss_difference"].astype(float)
    assert table["mean loss difference"].iloc[0] == pytest.approx(own.mean())
    assert (
        verdicts(frame).frame["comparisons"].sum()
        == (frame[frame["level"] == "set"]["loss_comparisons"]).sum()
    )


def test_the_two_tables_of_metrics_are_the_sixteen() -> None:
    assert len(COST_METRICS) == len(ROUTING_METRICS) == 8 and not COST_METRICS.keys() & ROUTING_METRICS.keys()
    assert number(0.5, "share") == "50.0%"
