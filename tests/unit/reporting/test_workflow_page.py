"""The front page of the HTML report, made by Snakemake from reports/workflow.rst as it is made here."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest
from docutils.core import publish_string

from switchyard.study import config

ROOT = Path(__file__).parents[3]
STUDIES = [None, *sorted(path.name for path in (ROOT / "studies").glob("*.yaml"))]


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_has_a_front_page_without_a_slip(
    study: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_config = config.read(ROOT / "config.yaml")
    if study:
        study_config = config.merge(study_config, config.read(ROOT / "studies" / study))
    files = {name: entry | {"source": "pocket"} for name, entry in study_config["datasets"].items() if entry}
    study_config["code"] = {"datasets": {}}  # whose files lie elsewhere
    study_config = config.resolve(
        study_config | {"datasets": files}, config.read(ROOT / "config.schema.yaml"), ROOT
    )
    source = (ROOT / "reports" / "workflow.rst").read_text(encoding="utf-8")
    text = (
        jinja2.Environment(trim_blocks=True)
        .from_string(source)
        .render(snakemake=SimpleNamespace(config=study_config))
    )
    monkeypatch.chdir(tmp_path)
    for path in re.findall(r":file: (\S+)", text):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(f"<p>{Path(path).name}</p>")
    slips = io.StringIO()
    page = publish_string(
        text, writer="html", settings_overrides={"warning_stream": slips, "report_level": 1}
    ).decode()
    words = re.sub(r"<[^>]+>|\s+", " ", page[page.index("<body") :])
    sets = re.findall(r"<li>(?:<p>)?<em>(\w+)</em>:", page)
    assert page.index("answer.html") < page.index("answer.svg") < page.index("Models")
    assert slips.getvalue() == ""
    assert not re.search(r"[a-z]\.[A-Z]", words), "two sentences without a space between"
    assert sets == [name for name, one in study_config["routing"].items() if one["enabled"]]
