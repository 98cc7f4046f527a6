"""Seconds of jobs by stage, from benchmark files as Snakemake writes them."""

from __future__ import annotations

import os
from pathlib import Path

from switchyard.launcher.times import in_words, job_seconds

HEAD = "s\th:m:s\tmax_rss\n"


def write(path: Path, text: str, *, age: float = 0.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (1000.0 - age, 1000.0 - age))


def test_seconds_are_added_by_the_file_of_the_rule(tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/prepare.smk").write_text("rule cut:\n    output: 1\n\nif here:\n\n    rule fetch:\n")
    (tmp_path / "rules/var.smk").write_text("rule var_all:\nrule sweep:\n")
    logs = tmp_path / "job-logs"
    write(logs / "cut.tsv", HEAD + "2.5\t0:00:02\t1\n")
    write(logs / "fetch/one.tsv", HEAD + "1.0\t0:00:01\t1\n")
    write(logs / "sweep/a_b.tsv", HEAD + "70.25\t0:01:10\t1\n")
    write(logs / "sweep/killed.tsv", HEAD)
    write(logs / "sweep/earlier.tsv", HEAD + "500\t0:08:20\t1\n", age=300)
    write(logs / "gone.tsv", HEAD + "9\t0:00:09\t1\n")
    found = job_seconds(logs, tmp_path / "rules", since=900.0)
    assert found == {"var": 70.25, "prepare": 3.5}
    words = in_words(found, 131.0)
    assert words == "the run took 2:11 min; its jobs, some at the same time: var 1:10 min, prepare 0:03 min"
