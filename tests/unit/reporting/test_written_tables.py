import io
import itertools
import re

import pandas as pd

from switchyard.reporting.pages import (
    EQUAL_COMPUTE_TITLES,
    write_configs,
    write_equal_compute,
    write_results,
    write_speed_table,
)
from switchyard.reporting.paper import main_table, write_paper_tables
from switchyard.reporting.tables import html_table, markdown_table


def test_the_csv_is_the_unrounded_table(made_up, tmp_path):
    tables = made_up()
    paths = write_paper_tables(tables, tmp_path, {"code": "a--b"})
    assert [path.name for path in paths] == [
        "main_table.tex",
        "main_table.md",
        "main_table.csv",
        "main_table.csv.provenance.json",
    ]
    back = pd.read_csv(io.StringIO(paths[2].read_text()))
    pd.testing.assert_frame_equal(back, main_table(tables), check_exact=True)


def test_latex_is_escaped_and_marks_the_best(made_up, tmp_path):
    tex = write_paper_tables(made_up(), tmp_path)[0].read_text()
    assert r"held\_out\_text perplexity" in tex and r"$\alpha$" in tex
    assert r"\textbf{18.38}" in tex
    body = tex.split(r"\midrule")[1]
    assert {line.count("&") for line in body.splitlines() if line.endswith(r"\\")} == {7}


def test_markdown_has_a_row_for_each_configuration(made_up, tmp_path):
    text = write_paper_tables(made_up(), tmp_path)[1].read_text()
    assert sum(line.startswith("|") for line in text.splitlines()) == 2 + 20
    assert "**18.38**" in text


def test_html_escapes_and_formats():
    frame = pd.DataFrame({"name": ["<b>"], "value": [0.123], "none": [None]})
    page = html_table(frame, title="A & B", caption="c", kinds={"value": "share"}, stamp={"x": "</script>"})
    assert "&lt;b&gt;" in page and "12.3%" in page and "A &amp; B" in page
    assert page.count("</script>") == 1


def test_a_pipe_does_not_break_a_row():
    assert markdown_table(["a"], [["x|y"]]).splitlines()[-1] == r"| x\|y |"


def test_the_page_on_equal_compute_has_every_row_and_readers_words(made_up, tmp_path):
    write_equal_compute(tmp_path / "page.html", made_up(controls=True), stamp={"code": "abc"})
    page = (tmp_path / "page.html").read_text()
    head = re.findall(r'<th class="\w+" scope="col">(.*?)</th>', page)
    assert head == list(EQUAL_COMPUTE_TITLES.values()) and not any("_" in title for title in head)
    rows = re.findall(r"<tr><td.*?</tr>", page)
    assert len(rows) == 72
    first = re.findall(r">([^<>]*)</td>", rows[0])
    assert first[0] == "pocket-olmoe"
    assert first[1:6] == ["BH α 0.30, max 8", "held_out_text", "1.30", "1.30", "+0.0800"]
    assert first[8:11] == ["&lt;0.001", "worse", "–"] and '"code":"abc"' in page


def test_the_page_on_equal_compute_says_where_nothing_was_compared(made_up, tmp_path):
    write_equal_compute(tmp_path / "page.html", made_up())
    page = (tmp_path / "page.html").read_text()
    assert "Nothing was compared" in page and "<th" in page and "<td" not in page


def test_pages_name_configurations_first_and_files_last(made_up, tmp_path):
    tables = made_up(controls=True)
    write_results(tmp_path / "results.html", tables)
    write_configs(tmp_path / "configs.html", tables)
    for name, rows in (("results", len(tables.results)), ("configs", len(tables.configurations))):
        page = (tmp_path / f"{name}.html").read_text()
        head = re.findall(r'<th class="\w+" scope="col">(.*?)</th>', page)
        assert head[0] == "configuration" and head[-1] == "config_<wbr>name"
        assert page.count("<tr><td") == rows and ">nan<" not in page


def test_the_main_table_keeps_sets_together_and_static_rules_first(made_up):
    names = list(main_table(made_up(controls=True))["config_name"])
    assert names[:8] == [f"{k}experts_topk_baseline" for k in range(1, 9)]
    kinds = [re.sub(r"\d+", "", name.split("_as_")[0]) for name in names[11:]]
    assert [kind for kind, _ in itertools.groupby(kind[:13] for kind in kinds)] == [
        "experts_bh_a", "experts_bh_bu", "mixed_topk",
    ]  # fmt: skip


def test_the_untouched_model_stands_in_the_table_of_speeds(tmp_path):
    row = {"model": "a", "config": "8experts_topk", "experts": "switchyard_ragged"}
    row |= {"tokens_per_second": 1234.5, "latency_ms_per_token": 6.0, "rounds": 3}
    native = row | {"config": None, "experts": "batched_mm", "tokens_per_second": None}
    speed = {"device": "a toaster", "rows": [row], "untouched": [native]}
    write_speed_table(tmp_path / "speed.html", [speed])
    page = (tmp_path / "speed.html").read_text()
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in re.findall(r"<tr>(<td.*?)</tr>", page)]
    assert cells == [
        ["a", "8experts_topk", "switchyard_ragged", "1,234", "6.00", "3"],
        ["a", "untouched", "batched_mm", "–", "6.00", "3"],
    ]
