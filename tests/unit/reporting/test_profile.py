"""The verb `profile` on a tiny model, and the figures and the page of what it wrote."""

from __future__ import annotations

import json
import re
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest
import vl_convert

from reference.tiny import tiny_model, tiny_tokenizer, write_documents
from switchyard import __main__ as command
from switchyard.artifacts.files import read_json, read_table
from switchyard.charts.names import PROFILE
from switchyard.charts.profile.break_even import profile_break_even
from switchyard.charts.profile.components import GROUPS, grouped, profile_components
from switchyard.charts.profile.latency import histogram, profile_latency, quantiles
from switchyard.charts.profile.roofline import profile_roofline, waterfall
from switchyard.charts.profile.scaling import profile_scaling
from switchyard.profiling.run import Settings
from switchyard.reporting import profile_verb
from switchyard.reporting.profile import Evidence, document

RULES = ("topk:k=1", "bh:alpha=0.4,max_k=3", "var")


def run(line: list[str]) -> int:
    before, sys.argv = sys.argv, ["switchyard", *line]
    try:
        return command.main()
    finally:
        sys.argv = before


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = tmp_path_factory.mktemp("profile")
    tiny_model().save_pretrained(own / "model")
    tiny_tokenizer().save_pretrained(own / "model")
    text = own / "text.txt"
    text.write_text(" ".join(write_documents(own / "text.jsonl", number=60)))
    asked = ["profile", "--model", str(own / "model"), "--text", str(text), "--quick", "--trace"]
    asked += [word for rule in RULES for word in ("--rule", rule)]
    assert run([*asked, "--output", str(own / "out")]) == 0
    return own / "out"


@pytest.fixture(scope="module")
def evidence(folder: Path) -> Evidence:
    return Evidence(
        pd.read_csv(folder / "components.csv"),
        pd.read_csv(folder / "roofline.csv"),
        read_table(folder / "latency.parquet").to_pandas(),
        read_json(folder / "overhead.json"),
        read_json(folder / "performance_model.json"),
    )


def test_the_verb_writes_every_file(folder: Path, evidence: Evidence) -> None:
    assert set(evidence.components["rule"]) == {"untouched", *RULES}
    assert evidence.model["model"] == "model" and evidence.model["provenance"]["code"]
    assert "</html>" in (folder / "calculator.html").read_text()
    traces = sorted(path.name for path in (folder / "trace").iterdir())
    assert len(traces) == 2 * 4 and traces[0] == "0_untouched_decode.pt.trace.json"
    assert json.loads((folder / "trace" / traces[0]).read_text())["traceEvents"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rule", "none"], "none"),
        (["--rule", "topk:k"], "'k' is no setting; write SETTING=VALUE"),
        (["--rule", "bh_budget:max_k=3"], "needs files of a study"),
        (["--rule", "mixed_topk:k=1.5"], "needs files of a study"),
        (["--rule", "topk:k=2", "--text", "nowhere.txt"], "nowhere.txt: no such file"),
        (["--rule", "var:cash_size=3"], "fields of a VARConfig"),
    ],
)
def test_bad_options_are_one_line(folder, tmp_path, capsys, options, said) -> None:
    asked = ["profile", "--model", str(folder.parent / "model"), "--output", str(tmp_path / "out"), *options]
    assert run(asked) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert said in line and not (tmp_path / "out").exists()


def test_quick_settings_are_settings() -> None:
    assert Settings(**profile_verb.QUICK).rounds == 6


def test_the_page_says_what_the_files_say(evidence: Evidence) -> None:
    page = document([evidence])
    for rule in RULES:
        assert f"| {rule} |" in page
    assert page.count("### ") == 10 and "nan" not in page and "None" not in page
    held = next(one for one in evidence.model["errors"] if one["role"] == "held out")
    assert f"off by {held['mean']:.1%} in prefill" in page
    first = evidence.overhead["overheads"][0]
    assert f"{first['total_overhead_us']:,.0f}" in page


def rendered(chart) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = vl_convert.vegalite_to_svg(chart.to_dict())
    return "|".join(re.findall(r">([^<>]+)<", svg))


def test_every_figure_is_drawn(folder: Path, evidence: Evidence) -> None:
    scaling = pd.read_csv(folder / "scaling.csv")
    drawn = {
        "profile_components": profile_components(evidence.components),
        "profile_scaling": profile_scaling(scaling),
        "profile_roofline": profile_roofline(evidence.roofline, evidence.model["ceilings"]),
        "profile_latency": profile_latency(evidence.latency),
        "profile_break_even": profile_break_even(evidence.model["curves"]),
    }
    assert tuple(drawn) == PROFILE
    for chart in drawn.values():
        text = rendered(chart)
        assert "prefill" in text and "decode" in text and "bh:alpha=0.4,max_k=3" in text


def test_without_a_rule_the_figure_says_so() -> None:
    assert "No rule was profiled beside the untouched model." in rendered(profile_break_even([]))


def test_grouped_components_keep_their_sum(evidence: Evidence) -> None:
    frame = grouped(evidence.components)
    for phase, own in evidence.components.groupby("phase"):
        drawn = frame[frame["phase"] == phase]
        assert drawn["mean_ms"].sum() == pytest.approx(own["mean_ms"].sum())
    known = {one for own in GROUPS.values() for one in own}
    assert set(evidence.components["component"]) <= known


def test_a_waterfall_s_bars_follow_each_other(evidence: Evidence) -> None:
    for _, own in waterfall(evidence.roofline, "decode").groupby("rule"):
        assert own["start"].tolist()[1:] == own["end"].tolist()[:-1] and own["start"].iloc[0] == 0


def test_distributions_are_of_all_samples(evidence: Evidence) -> None:
    own = evidence.latency[evidence.latency["phase"] == "decode"]
    assert histogram(own).groupby("rule")["share"].sum().tolist() == pytest.approx([1.0] * 4)
    ranks = quantiles(own)
    assert ranks.groupby("rule")["latency_ms"].apply(lambda one: one.is_monotonic_increasing).all()
