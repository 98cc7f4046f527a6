import io

import pandas as pd

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
    assert {line.count("&") for line in body.splitlines() if line.endswith(r"\\")} == {6}


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
