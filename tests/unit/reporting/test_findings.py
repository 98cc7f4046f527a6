import dataclasses
import io
from collections import Counter

import pandas as pd
import pytest

from switchyard.reporting import comparisons, findings
from switchyard.reporting.findings import Findings, findings_table, write_findings


@pytest.mark.parametrize(
    ("outcome", "verdict"), [("loses", "worse"), ("wins", "better"), ("tied", "undecided")]
)
def test_verdicts_against_the_trained_follow_the_intervals(made_up, outcome, verdict):
    frame = comparisons.against_trained(made_up(outcome))
    assert set(frame.loc[frame["adaptive"], "verdict"]) == {verdict}


def test_an_interval_that_is_not_defined_decides_nothing(made_up):
    tables = made_up()
    blank = tables.differences.assign(loss_difference_low=float("nan"), loss_difference_high=float("nan"))
    frame = comparisons.against_trained(dataclasses.replace(tables, differences=blank))
    assert set(frame["verdict"]) == {"undecided"}


def test_controls_are_no_adaptive_rules(made_up, with_random_counts):
    tables = with_random_counts(made_up(controls=True))
    found = Findings.of(tables)
    counts = [found.count(name) for name in ("static_rules", "adaptive_rules", "controls")]
    assert counts == [11, 24, 48]
    assert found.count("trained_comparisons") == found.count("random_comparisons") == 72
    assert not set(comparisons.adaptive(tables)["routing_type"]) & {"topk", "mixed_topk", "random_count"}


def test_tallies_are_what_counting_row_by_row_gives(made_up, split_verdicts):
    tables = split_verdicts(made_up(controls=True))
    sets = tables.configurations.set_index("config_name")["set_name"]
    expected = Counter()
    for row in tables.equal_compute.to_dict("records"):
        for measure in ("loss", "accuracy"):
            verdict = row[f"{measure}_verdict"]
            if not isinstance(verdict, str):
                continue
            places = [(None, None), (sets[row["config_name"]], None), (None, row["config_name"])]
            for set_name, config_name in places:
                expected[f"{measure}_{verdict.replace(' ', '_')}", set_name, config_name] += 1
                expected[f"{measure}_comparisons", set_name, config_name] += 1
    found = Findings.of(tables)
    assert len(expected) > 100
    for (finding, set_name, config_name), count in expected.items():
        assert found.count(finding, set_name=set_name, config_name=config_name) == count


def test_ends_are_those_of_the_rows(made_up, split_verdicts):
    tables = split_verdicts(made_up(controls=True))
    found, rows = Findings.of(tables), tables.equal_compute
    assert found.value("loss_difference_lowest") == rows["loss_difference"].min()
    assert found.value("loss_interval_highest") == rows["loss_difference_high"].max()
    own = rows[rows["config_name"] == "16experts_bh_a030"]
    place = {"config_name": "16experts_bh_a030"}
    assert found.value("experts_lowest", **place) == own["avg_experts"].min()
    assert found.value("accuracy_difference_highest", **place) == own["accuracy_difference"].max()


def test_random_counts_are_compared_with_their_own_rule(made_up, with_random_counts):
    found = Findings.of(with_random_counts(made_up("tied", controls=True)))
    assert found.count("random_lower_loss") == 72
    difference = found.value("random_loss_difference", config_name="8experts_bh_budget_k5", dataset="cloze")
    assert difference == pytest.approx(-0.01)


def test_speed_against_the_partner_of_the_same_budget(made_up):
    tables = made_up(controls=True)
    slow = tables.overall["config_name"] == "8experts_bh_a030"
    overall = tables.overall.assign(
        tokens_per_second=tables.overall["tokens_per_second"].mask(
            slow, tables.overall["tokens_per_second"] / 2
        )
    )
    found = Findings.of(dataclasses.replace(tables, overall=overall))
    assert (
        found.value("partner_ratio_lowest")
        == found.value("partner_ratio", config_name="8experts_bh_a030")
        == 0.5
    )
    assert found.value("partner_ratio_highest") == 1.0


def test_budgets_have_their_targets(made_up):
    tables = made_up(controls=True)
    frame = comparisons.budgets(tables)
    assert dict(zip(frame["config_name"], frame["target"], strict=True)) == {
        f"8experts_bh_budget_k{target}{null}": target
        for null in ("", "_unselected")
        for target in (4, 5, 6, 7)
    }
    assert Findings.of(tables).value("target_gap_largest") == pytest.approx(7 * 1.08 - 7)


def test_every_finding_has_a_format_and_every_format_a_finding(made_up, with_random_counts, split_verdicts):
    wide = with_random_counts(split_verdicts(made_up(controls=True)))
    ceiling = wide.overall.assign(ceiling_hit_rate=0.9)
    names = set(findings_table(wide)["finding"])
    names |= set(findings_table(dataclasses.replace(wide, overall=ceiling))["finding"])
    assert names == set(findings.KINDS)


def test_the_file_reads_back_to_the_digit(made_up, tmp_path):
    frame = findings_table(made_up(controls=True))
    write_findings(tmp_path / "findings.csv", frame)
    text = (tmp_path / "findings.csv").read_text()
    assert "\nadaptive_rules,,,,24\n" in text
    back = pd.read_csv(io.StringIO(text), float_precision="round_trip")
    assert list(back["value"]) == list(frame["value"])
    assert not frame.duplicated(["finding", "set_name", "config_name", "dataset"]).any()
