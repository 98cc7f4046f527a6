import dataclasses
import re

import numpy as np
import pandas as pd
import pytest

from reference import made_up_study
from switchyard.errors import InputError
from switchyard.reporting import verdicts
from switchyard.reporting.markdown import report, write_report
from switchyard.reporting.numbers import COLUMN_KINDS
from switchyard.warehouse.study_tables import Tables


def text_of(tables, **options):
    return report(tables, study="made-up", model="a model", **options)


def section(text, title):
    return re.search(rf"## {title}\n\n(.*?)(?=\n\n## |\Z)", text, re.S).group(1)


def titles(text):
    return re.findall(r"^## (.*)$", text, re.M)


ORDER = [
    "In short", "What was compared, and how", "Verdicts at equal compute", "Recommendations",
    "Differences at equal compute", "Which tokens get more experts", "Given budgets", "Compute and speed",
    "Against the trained top-k", "Floor and ceiling", "All configurations", "Limits", "Provenance",
]  # fmt: skip


def test_the_answer_comes_first_and_what_a_study_lacks_is_not_there(made_up, with_random_counts):
    assert titles(text_of(with_random_counts(made_up(controls=True)))) == ORDER
    lacking = {"Differences at equal compute", "Which tokens get more experts", "Given budgets"}
    assert titles(text_of(made_up())) == [title for title in ORDER if title not in lacking]


@pytest.mark.parametrize(
    ("outcome", "counts", "sentence", "advice", "meaning"),
    [
        ("loses", "0 better, 72 worse and 0 not distinguishable", "worse than", "Do not let these rules",
         "cost quality"),
        ("wins", "72 better, 0 worse and 0 not distinguishable", "better than", "Let an adaptive rule", "paid"),
        ("tied", "0 better, 0 worse and 72 not distinguishable", "not distinguishable from", "Choose by cost",
         "That is not equality"),
    ],
)  # fmt: skip
def test_the_words_at_equal_compute_agree_with_the_table(made_up, outcome, counts, sentence, advice, meaning):
    text = text_of(made_up(outcome, controls=True))
    short = section(text, "In short")
    assert counts in short and meaning in short
    sentences = re.findall(r"^- (BH .*)$", section(text, "Verdicts at equal compute"), re.M)
    assert len(sentences) == 24
    assert all(
        f"{sentence} static top-k at its own budget on 3 of 3 datasets (loss)" in one for one in sentences
    )
    assert all(one.endswith("accuracy not distinguishable on 2 of 2.") for one in sentences)
    assert advice in section(text, "Recommendations")
    assert section(text, "Differences at equal compute").count("\n| BH ") == 72


def test_a_verdict_sentence_in_full(made_up, split_verdicts):
    tables = split_verdicts(made_up(controls=True))
    words = {"held_out_text": "better", "cloze": "worse", "choice": "not distinguishable"}
    rows = tables.equal_compute["config_name"] == "16experts_bh_a030"
    changed = tables.equal_compute.assign(
        loss_verdict=tables.equal_compute["loss_verdict"].mask(
            rows, tables.equal_compute["dataset"].map(words)
        )
    )
    assert (
        "- BH α 0.30, max 16, at 1.33 to 1.53 experts: better than static top-k at its own budget on 1, worse than it "
        "on 1 and not distinguishable from it on 1 of 3 datasets (loss); accuracy "
    ) in section(text_of(dataclasses.replace(tables, equal_compute=changed)), "Verdicts at equal compute")


def test_split_verdicts_give_no_one_answer(made_up, split_verdicts):
    text = text_of(split_verdicts(made_up(controls=True)))
    assert "depends on rule and dataset" in section(text, "In short")
    assert "Choose by rule and dataset" in section(text, "Recommendations")


def test_families_are_stated(made_up):
    text = section(text_of(made_up(controls=True)), "What was compared, and how")
    assert "two families of the study: the 72 comparisons of loss and the 48 comparisons of accuracy" in text
    only_text = section(
        text_of(made_up(controls=True, datasets=("held_out_text",))), "What was compared, and how"
    )
    assert "one family of the study: the 24 comparisons of loss." in only_text


def test_without_controls_the_report_says_what_to_switch_on(made_up):
    text = text_of(made_up("wins"))
    assert "not compared" in section(text, "In short")
    assert "`mixed: {rule: mixed_topk, match: [bh]}`" in section(text, "In short")


def test_a_set_without_partners_is_named(made_up):
    tables = made_up(controls=True)
    budget = tables.equal_compute["config_name"].str.contains("budget")
    text = text_of(dataclasses.replace(tables, equal_compute=tables.equal_compute[~budget]))
    assert "8 adaptive configurations (from `budget`) stand in no verdict" in section(
        text, "Verdicts at equal compute"
    )


def test_a_long_set_has_a_table(made_up, monkeypatch):
    monkeypatch.setattr(verdicts, "LONG", 8)
    part = section(text_of(made_up(controls=True)), "Verdicts at equal compute")
    assert "| BH α 0.30, max 16 | 1.33 to 1.53 | 0 | 3 | 0 | 0 | 0 | 2 |" in part
    assert part.count("\n- BH ") == 8


def test_random_counts_are_weighed_without_a_claim_of_significance(made_up, with_random_counts):
    part = section(
        text_of(with_random_counts(made_up("tied", controls=True))), "Which tokens get more experts"
    )
    assert "lower loss in 72 of 72 comparisons" in part and "No test was made" in part
    assert "| BH α 0.30, max 8 | -0.0100 | -0.0100 | -0.0100 |" in part


def test_budgets_show_target_level_and_what_came_out(made_up):
    part = section(text_of(made_up(controls=True)), "Given budgets")
    assert "| BH to mean 5, max 8 | 5.00 | 0.35 | 5.00 | 4.70 | 5.40 |" in part


def test_against_the_trained_top_k(made_up):
    loses, wins, tied = (text_of(made_up(outcome)) for outcome in ("loses", "wins", "tied"))
    assert "0 times better, 48 times worse and 0 times undecided" in section(loses, "In short")
    assert "Stay with the trained top-8 where quality counts" in section(loses, "Recommendations")
    assert "48 times better, 0 times worse" in section(wins, "In short")
    advice = section(wins, "Recommendations")
    assert "BH α 0.30, max 8 is the cheapest adaptive rule not measurably worse" in advice
    assert "better on 3 of 3 datasets" in advice and "Stay with" not in advice
    assert "48 times undecided" in section(tied, "In short")
    assert "still allow +0.0100 nats" in section(tied, "Recommendations")


def test_no_adaptive_rule_is_praised_that_loses_at_its_own_budget(made_up):
    advice = section(text_of(made_up("loses", controls=True)), "Recommendations")
    assert "BH to mean 7, max 8 is the cheapest adaptive rule" in advice
    assert "But static top-k of the same mean number of experts does better" in advice
    assert "top-7 is the smallest static k not measurably worse" in advice


@pytest.mark.parametrize("outcome", ["loses", "wins", "tied"])
@pytest.mark.parametrize("controls", [True, False])
def test_recommendations_are_few_and_short(made_up, outcome, controls):
    advice = section(text_of(made_up(outcome, controls=controls)), "Recommendations").splitlines()
    assert 1 <= len(advice) <= 6
    assert all(
        line.startswith(f"{place}. ") and len(line) < 400 for place, line in enumerate(advice, start=1)
    )


@pytest.mark.parametrize("controls", [True, False])
@pytest.mark.parametrize(
    "shape",
    [
        {"alphas": ()},
        {"caps": (8,), "alphas": (0.5,), "datasets": ("cloze",)},
        {"datasets": ("held_out_text",)},
        {"caps": (8,), "alphas": (0.3, 0.6)},
    ],
)
def test_odd_studies_have_a_report(made_up, shape, controls):
    text = text_of(made_up(controls=controls, **shape))
    assert not re.search(r"\bnan\b", text) and "None" not in text
    assert re.search(r"^1\. ", section(text, "Recommendations"), re.M)


def test_a_study_of_static_rules_gives_no_advice_on_adaptive_ones(made_up):
    text = text_of(made_up(alphas=()))
    assert "no adaptive rule" in section(text, "In short")
    assert "no adaptive rule" in section(text, "Recommendations")


def test_single_samples_have_no_interval_and_decide_nothing(made_up):
    tables = made_up(controls=True)
    nothing = {"loss_difference_low": float("nan"), "loss_difference_high": float("nan")}
    equal = tables.equal_compute.assign(**nothing, loss_p_holm=1.0, loss_verdict="not distinguishable")
    tables = dataclasses.replace(
        tables, differences=tables.differences.assign(**nothing), equal_compute=equal
    )
    assert "[–, –]" in section(text_of(tables), "Differences at equal compute")


def test_a_grid_of_nulls_and_weightings_is_readable(made_up):
    """A hundred configurations of one set: tables, and no sentence that lists them."""
    frames = {name: getattr(made_up(), name) for name in Tables.__dataclass_fields__}
    variants = [
        (null, weighting)
        for null in ("", "_unselected")
        for weighting in ("", "_sum_to_one", "_trained_mass")
    ]
    for name, frame in frames.items():
        if "config_name" not in frame:
            continue
        bh = frame[frame["config_name"].str.contains("_bh_")]
        more = []
        for null, weighting in variants[1:]:
            rows = bh.assign(config_name=bh["config_name"] + null + weighting)
            if "label" in rows:
                rows["label"] += f", {null or 'pooled'}{weighting}"
            more.append(rows)
        frames[name] = pd.concat([frame, *more], ignore_index=True)
    text = text_of(Tables(**frames))
    assert "96 adaptive rules" in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) < 700


def test_a_number_that_no_table_holds_is_refused(made_up, monkeypatch):
    monkeypatch.setattr("switchyard.reporting.trained.limits", lambda found: ["It took 1234 hours."])
    with pytest.raises(InputError, match=r"line \d+: 1234"):
        text_of(made_up())


def test_same_text_twice_and_the_stamp_at_its_end(made_up, tmp_path):
    write_report(tmp_path / "report.md", made_up(), study="made-up", model="a model", stamp={"code": "abc"})
    text = (tmp_path / "report.md").read_text()
    assert text == text_of(made_up(), stamp={"code": "abc"})
    assert '"code": "abc"' in section(text, "Provenance")


def test_the_machine_is_named(made_up):
    assert "Speed holds for a toaster 2000" in text_of(made_up(), machine="a toaster 2000")


def test_fewer_experts_that_run_slower_are_not_called_fast(made_up):
    tables = made_up("wins")
    adaptive = tables.overall["config_name"].str.contains("_bh_")
    slow = tables.overall.assign(tokens_per_second=tables.overall["tokens_per_second"].mask(adaptive, 900.0))
    text = text_of(dataclasses.replace(tables, overall=slow))
    assert "16 of 16 cheaper adaptive configurations ran slower than the trained top-8" in section(
        text, "Recommendations"
    )
    assert "prefill ran at 0.20 times the speed" in section(text, "In short")
    assert "Fewer experts saved time" in section(text_of(tables), "Recommendations")


def test_speed_that_was_not_measured_is_not_judged(made_up):
    tables = made_up("wins")
    unmeasured = dataclasses.replace(tables, overall=tables.overall.assign(tokens_per_second=float("nan")))
    text = text_of(unmeasured)
    assert "its speed was not measured." in text and "ran slower" not in text and "saved time" not in text


DATASETS = {"wikitext2": 10.0, "arc-challenge": 20.0, **made_up_study.DATASETS}


@pytest.mark.parametrize("seed", range(12))
def test_any_numbers_give_a_report_that_its_own_check_lets_through(monkeypatch, seed):
    """Random verdicts, noise on every measure, missing speeds and partners, names with digits."""
    random = np.random.default_rng(seed)
    monkeypatch.setattr(made_up_study, "DATASETS", DATASETS)
    monkeypatch.setattr(verdicts, "LONG", random.choice([3, 30]))
    chosen = tuple(random.permutation(list(DATASETS))[: random.integers(1, 4)])
    shape = {"datasets": chosen, "controls": bool(seed % 4), "caps": (8, 16), "alphas": (0.3, 0.6)}
    frames = made_up_study.tables(random.choice(["loses", "wins", "tied"]), **shape)
    for frame in frames.values():
        for column in frame.columns.intersection(list(COLUMN_KINDS)):
            if COLUMN_KINDS[column] not in ("count", "level", "p"):
                sign = random.choice([-1, 1], len(frame)) if column.endswith("_difference") else 1
                frame[column] = frame[column].astype(float) * random.lognormal(0, 0.3, len(frame)) * sign
    equal = frames["equal_compute"]
    for measure in ("loss", "accuracy"):
        words = random.choice(["better", "worse", "not distinguishable"], len(equal))
        equal[f"{measure}_verdict"] = pd.Series(words).where(equal[f"{measure}_verdict"].notna(), None)
    if seed % 3 == 0:
        frames["equal_compute"] = equal.iloc[: len(equal) // 2]
    if seed % 5 == 0:
        frames["overall"]["tokens_per_second"] = float("nan")
    frames["configurations"]["set_name"] += "2"
    names = {"study": "study-7", "model": "OLMoE-1B-7B-0924", "machine": "EPYC 7B13, 2 threads"}
    assert report(Tables(**frames), **names).startswith("# Expert routing: study-7")
