"""The report on made-up studies: what it says follows from the findings, and no number stands in a template."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from switchyard.reporting.findings import findings
from switchyard.reporting.pages import write_document, write_fragment
from switchyard.reporting.report import render

TEMPLATE = Path(__file__).parents[3] / "reports" / "report.md.j2"
FRONT = TEMPLATE.with_name("front.md.j2")
PAGES = [TEMPLATE, FRONT, *sorted((TEMPLATE.parent / "report").glob("*.j2"))]
JINJA = re.compile(r"\{#.*?#\}|\{\{.*?\}\}|\{%.*?%\}", re.S)
STRING = re.compile(r'"[^"]*(?<!\.j2)"')


@pytest.fixture
def text_of(derived):
    """A function: Tables, of one model or by model -> the report on them."""

    def written(tables, template=TEMPLATE, **options):
        found = findings(derived(tables))
        untouched = [
            {"experts": "grouped_mm", "tokens_per_second": 4321.4, "latency_ms_per_token": 5.678},
            {"experts": "batched_mm", "tokens_per_second": None, "latency_ms_per_token": 4.5},
        ]
        speeds = {row["model"]: {"device": "a toaster", "untouched": untouched} for row in found}
        return render(found, template, study="made-up", speeds=speeds, **options)

    return written


def section(text, title):
    return re.search(rf"^(#+) {re.escape(title)}\n\n(.*?)(?=\n\n#|\Z)", text, re.S | re.M).group(2)


def titles(text):
    return re.findall(r"^#+ (.*)$", text, re.M)


def without_adaptive(tables, *kinds):
    """Only rules of some kinds, matched with none."""
    kept = tables.configurations["routing_type"].isin(kinds)
    names = set(tables.configurations.loc[kept, "config_name"])
    frames = {
        field.name: frame[frame["config_name"].isin(names)]
        for field in dataclasses.fields(tables)
        if "config_name" in (frame := getattr(tables, field.name))
    }
    frames["configurations"] = frames["configurations"].assign(matched=None)
    return dataclasses.replace(tables, **frames)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_number_is_typed_in_a_template(page):
    source = page.read_text(encoding="utf-8")
    typed = [JINJA.sub("", source), *(text for tag in JINJA.findall(source) for text in STRING.findall(tag))]
    assert not [text for text in typed if re.search(r"\d", text)]


@pytest.mark.parametrize(
    ("outcome", "answer", "advice"),
    [
        ("loses", "cost quality: at the same mean number of experts, the loss is worse than that of static top-k in 72",
         "Do not let"),
        ("wins", "paid: at the same mean number of experts, the loss is better than that of static top-k in 72 of 72",
         "Let an adaptive"),
        ("tied", "made no measurable difference", "Choose by cost"),
        ("varied", "depends on rule and dataset", "Choose by rule and dataset"),
    ],
)  # fmt: skip
def test_the_answer_and_the_advice_follow_the_verdicts(made_up, text_of, outcome, answer, advice):
    text = text_of(made_up(outcome, controls=True))
    short = section(text, "In short")
    assert titles(text)[:2] == ["Expert routing: made-up", "In short"]
    assert answer in short and len(short.splitlines()) == 4
    assert section(text, "Recommendations").startswith(f"- {advice}")
    table = section(text, "Verdicts at equal compute").split("\n\n")[-1]
    assert table.count("\n| BH ") == 24


def test_the_untouched_model_stands_under_the_speed_of_its_configurations(made_up, text_of):
    text = section(text_of(made_up("varied")), "Compute and speed")
    assert text.endswith("| `grouped_mm` | 4,321 | 5.68 |\n| `batched_mm` | – | 4.50 |")


def test_against_the_trained_top_k(made_up, text_of):
    loses, wins, tied = (text_of(made_up(outcome)) for outcome in ("loses", "wins", "tied"))
    assert "of 48 comparisons, 0 are better, 48 worse and 0 undecided" in section(
        loses, "Against the trained top-k"
    )
    assert "Stay with the trained top-8 where quality counts" in section(loses, "Recommendations")
    advice = section(wins, "Recommendations")
    assert "BH α 0.30, max 8 is the cheapest adaptive rule not measurably worse" in advice
    assert "better on 3 of 3 datasets" in advice and "Stay with" not in advice
    assert "BH α 0.30, max 8 is the cheapest adaptive rule that is not measurably worse" in section(
        wins, "In short"
    )
    assert "0 worse and 48 undecided" in section(tied, "Against the trained top-k")
    assert "still allow a loss +0.0100 nats higher" in section(tied, "Recommendations")


def test_no_adaptive_rule_is_praised_that_loses_at_its_own_budget(made_up, text_of):
    advice = section(text_of(made_up("loses", controls=True)), "Recommendations")
    assert "BH to mean 7, max 8 is the cheapest adaptive rule" in advice
    assert "But static top-k of the same mean number of experts does better" in advice
    assert "top-7 is the smallest static k not measurably worse" in advice


def test_cells_are_those_of_the_tables(made_up, text_of, with_random_counts):
    text = text_of(with_random_counts(made_up("tied", controls=True)))
    assert "| BH α 0.30, max 8 | 1.22 to 1.40 | +0.0010 | +0.0010 | +0.0010 | 0.0% | 0.0% |" in text
    assert "| BH α 0.30, max 8 | -0.0100 | -0.0100 | -0.0100 |" in section(
        text, "Which tokens get more experts"
    )
    assert "lower loss in 72 of 72 comparisons" in section(text, "Which tokens get more experts")
    assert "| BH to mean 5, max 8 | 5.00 | 0.35 | 5.00 | 4.70 | 5.40 |" in section(text, "Given budgets")
    best = section(text_of(made_up()), "All configurations")
    assert "| top-16 | 16.00 | **18.38** | **31.13** | **27.11** | **40.8%** | **16.9%** |" in best


def test_what_was_not_compared_is_said(made_up, text_of):
    text = text_of(made_up("wins"))
    assert 'Naming the set bh in "match" of a mixed_topk set adds it.' in section(text, "In short")
    assert "Verdicts at equal compute" not in titles(text)
    tables = made_up(controls=True)
    budget = tables.equal_compute["config_name"].str.contains("budget")
    text = text_of(dataclasses.replace(tables, equal_compute=tables.equal_compute[~budget]))
    assert "8 adaptive configurations (set `budget`)" in section(text, "Verdicts at equal compute")


def test_each_model_has_its_heading_and_a_static_one_a_short_section(made_up, text_of):
    text = text_of(
        {
            "big": made_up("loses", controls=True),
            "small": without_adaptive(made_up("loses", controls=True), "topk", "mixed_topk"),
        }
    )
    assert [title for title in titles(text) if title in ("big", "small")] == ["big", "small"]
    short = section(text, "In short")
    assert short.index("**big.**") < short.index("**small.**")
    assert "no adaptive rule for this model, only 11 static rules and 24 controls" in short
    small = text[text.index("\n## small") :]
    assert "Stay with top-8: the study has no adaptive rule" in small and "Verdicts" not in small
    assert "| mixed top-k as 8experts_bh_a030 | 1.31 |" in small and "Floor and ceiling" not in small


def test_controls_alone_and_a_matched_static_rule_have_a_report(made_up, text_of):
    tables = made_up("loses", controls=True)
    assert "The study has nothing to compare" in text_of(without_adaptive(tables, "mixed_topk"))
    static = without_adaptive(tables, "topk")
    one = tables.equal_compute.head(1).assign(config_name="1experts_topk_baseline")
    text = text_of(dataclasses.replace(static, equal_compute=one))
    assert "Verdicts at equal compute" not in titles(text)
    assert "| top-1 | held_out_text | 1.00 |" in section(text, "Set `static`")


@pytest.mark.parametrize("controls", [True, False])
@pytest.mark.parametrize(
    "shape",
    [
        {"alphas": ()},
        {"caps": (8,), "alphas": (0.5,), "datasets": ("cloze",)},
        {"datasets": ("held_out_text",)},
        {"caps": (8,), "alphas": ()},
        {"others": True},
    ],
)
def test_odd_studies_have_a_report(made_up, text_of, shape, controls):
    text = text_of(made_up(controls=controls, **shape))
    assert not re.search(r"\bnan\b|None|undefined|\|\||\n\n\n|  \|", text)
    assert section(text, "Recommendations").startswith("- ")
    for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table
        assert table.count("\n") > 2, table


def test_samples_without_an_interval_are_dashes(made_up, text_of):
    tables = made_up(controls=True)
    nothing = {"loss_difference_low": float("nan"), "loss_difference_high": float("nan")}
    equal = tables.equal_compute.assign(**nothing, loss_p_holm=1.0, loss_verdict="not distinguishable")
    changed = {"differences": tables.differences.assign(**nothing), "equal_compute": equal}
    text = text_of(dataclasses.replace(tables, **changed))
    assert "[–, –]" in text and "with intervals between – and –" in text


def test_speed_is_judged_only_where_it_was_measured(made_up, text_of):
    tables = made_up("wins")
    speed = tables.overall["tokens_per_second"]
    adaptive = tables.overall["config_name"].str.contains("_bh_")
    slow = text_of(
        dataclasses.replace(
            tables, overall=tables.overall.assign(tokens_per_second=speed.mask(adaptive, 900.0))
        )
    )
    assert "16 of 16 cheaper adaptive configurations ran slower than the trained top-8" in slow
    assert "all ran at 0.20 times its speed" in section(slow, "In short")
    none = text_of(dataclasses.replace(tables, overall=tables.overall.assign(tokens_per_second=float("nan"))))
    assert "speed was not measured" in none and "ran slower" not in none and "saved time" not in none
    assert "Fewer experts saved time" in section(text_of(tables), "In short")


def test_adaptive_rules_that_run_the_trained_number_are_compared_with_it(made_up, derived):
    found = [dict(row) for row in findings(derived(made_up("varied")))]
    for row in found:
        if row["role"] == "adaptive":
            row |= {"saving": 0, "above": 0, "trained_worse": 1, "trained_better": 0, "pick": False}
    text = render(found, FRONT, study="made-up", speeds={})
    assert "Its adaptive rules (set bh) run as many experts as the trained top-8, which is their" in text
    assert "the loss is worse in 1 of 48 comparisons and better in 0, by uncorrected intervals" in text
    assert "not compared" not in text and "No adaptive rule" not in text


def test_the_front_page_opens_with_the_answers_of_the_report(made_up, text_of):
    tables = made_up("varied", controls=True)
    assert text_of(tables, FRONT).strip() == section(text_of(tables), "In short").strip()


def test_the_answer_can_stand_in_a_script_of_another_page(made_up, text_of, tmp_path):
    text = text_of(made_up("varied", controls=True), FRONT)
    write_fragment(tmp_path / "answer.html", text, stamp={"code": "abc"})
    assert "<script" not in (tmp_path / "answer.html").read_text()
    assert json.loads((tmp_path / "answer.html.provenance.json").read_text()) == {"code": "abc"}


def test_machine_and_stamp_are_printed_and_the_page_holds_every_table(made_up, text_of, tmp_path):
    tables = made_up("varied", controls=True)
    text = text_of(tables, stamp={"code": "abc"})
    assert text == text_of(tables, stamp={"code": "abc"})
    assert "Speed holds for a toaster" in text and '"code": "abc"' in section(text, "Provenance")
    write_document(tmp_path / "page.html", text, title="t")
    page = (tmp_path / "page.html").read_text()
    assert page.count("<table>") == len(re.findall(r"^\| :--", text, re.M)) and "<td>|" not in page
