"""The smoke study's models write programs: generated, scored in the sandbox, compared, and nothing is done twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from switchyard.artifacts.files import read_json
from workflow.checkout import RESULTS, STUDY, copy_study

pytestmark = pytest.mark.slow

WRITERS = ("4experts_topk_baseline", "mixed_topk_as_8experts_bh_a030", "var_balanced")


def snakemake(checkout: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "snakemake", "code_all", "--cores", "2", "--configfile", STUDY]
    command += ["tests/workflow/code.yaml", *arguments]
    ran = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=900)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def test_programs_are_written_scored_and_compared(smoke: Path, tmp_path: Path) -> None:
    checkout = copy_study(smoke, tmp_path)
    planned = [line.split() for line in snakemake(checkout, "-n", "--quiet", "rules").splitlines()]
    jobs = {words[0]: int(words[1]) for words in planned if len(words) == 2 and words[1].isdigit()}
    # the matched configuration reads the trace of BH, whose programs are written and not scored
    expected = {"prepare_dataset": 1, "generate_code": 4, "score_code": 3, "compare_code": 1}
    assert {name: jobs.get(name) for name in expected} == expected and "evaluate_experiment" not in jobs
    snakemake(checkout)
    code = checkout / RESULTS / "code" / "pocket-olmoe"
    for name in WRITERS:
        lines = (code / f"{name}_programs_samples.jsonl").read_text().splitlines()
        assert [json.loads(line)["sample"] for line in lines] == [0, 1, 2] * 3
        trace = pq.read_table(
            code / "traces" / f"{name}_programs.parquet", columns=["sample_id", "sequence", "layer"]
        )
        assert trace.group_by(trace.column_names).aggregate([]).num_rows == 3 * 3 * 2
        scores = read_json(code / f"{name}_programs.json")
        assert scores["config"] == name and 0 <= scores["pass@1"] <= 1 and 0 <= scores["pass@2"] <= 1
        assert scores["greedy"]["samples"] == 3 and scores["sampled"]["samples"] == 6
        assert set(scores["provenance"]["sandbox"]["walls"].values()) == {"held"}
    compared = read_json(code / "comparison_programs.json")
    assert compared["reference"] == WRITERS[0]
    assert [one["config"] for one in compared["comparisons"]] == list(WRITERS[1:])
    assert "Nothing to be done" in snakemake(checkout, "-n")
