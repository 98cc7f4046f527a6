"""What the README says can be done can be done."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from reference.tiny import tiny_model, tiny_tokenizer, write_documents
from workflow.checkout import RESULTS, ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


OWN = "my-model"
"""Stands in the examples that need a model and a text of the reader's own."""

EXAMPLES = [block for block in blocks("python") if OWN not in block]


def make_commands() -> list[str]:
    lines = [line.split("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line.startswith("make ")]


@pytest.mark.parametrize("command", make_commands())
def test_make_commands_exist_and_name_files_that_exist(command: str):
    ran = subprocess.run(
        f"{command.replace('make ', 'make -n ', 1)}", shell=True, cwd=ROOT, capture_output=True
    )
    assert ran.returncode == 0, ran.stderr.decode()
    for study in re.findall(r"STUDY=(\S+)", command):
        assert (ROOT / study).is_file()


def test_two_commands_come_first():
    assert make_commands()[:2] == ["make study", "make test"]


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)", TEXT))
def test_links_lead_somewhere(target: str):
    assert (ROOT / target).exists()


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_python_examples_run(number: int):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", EXAMPLES[number]]  # as a reader would, with .venv alone
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "torch.Size" in ran.stdout


def test_warehouse_query_runs(smoke: Path):
    [query] = [block for block in blocks("bash") if "duckdb" in block]
    code = re.search(r'-c "(.*?)"\n', query, re.DOTALL)[1]
    ran = subprocess.run([sys.executable, "-c", code], cwd=smoke / RESULTS, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "8experts_topk_baseline" in ran.stdout


def verbs() -> list[str]:
    lines = [line.split("#")[0] for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if "-m switchyard" in line]


def test_the_plan_is_made():
    [line] = [line for line in verbs() if " plan " in line]
    ran = subprocess.run([sys.executable, *line.split()[1:]], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode in (0, 1), ran.stderr  # whether this machine is large enough
    assert ran.stdout.startswith("Study olmoe: ")


def test_verbs_run_on_the_tables_of_a_study(smoke: Path, tmp_path: Path):
    lines = [line for line in verbs() if "results/pocket/" in line]
    assert len(lines) == 3
    for line in lines:
        words = line.replace("results/pocket", str(smoke / RESULTS)).split()
        ran = subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "hypothesis" / "verdict.json").exists() and (tmp_path / "ceiling.json").exists()


@pytest.mark.slow
def test_any_model_and_text(tmp_path: Path):
    """The commands in their order, then the two lines in a script, in a folder with a model and texts."""
    tiny_model().save_pretrained(tmp_path / OWN)
    tiny_tokenizer().save_pretrained(tmp_path / OWN)
    for seed, name in enumerate(("my-text.jsonl", "my-test.jsonl")):
        write_documents(tmp_path / name, seed=seed)
    lines = [line for line in verbs() if "results/" not in line and " plan " not in line]
    assert len(lines) == 6
    for line in lines:
        ran = subprocess.run(
            [sys.executable, *shlex.split(line)[1:]], cwd=tmp_path, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
    assert "Comparison: Baseline vs VAR" in ran.stdout
    assert len(list((tmp_path / "figures").glob("*.png"))) == 6
    [script] = [block for block in blocks("python") if OWN in block]
    (tmp_path / "script.py").write_text(script)
    ran = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "torch.Size" in ran.stdout and "VAR Routing Distribution:" in ran.stdout


def test_results_named_in_the_table_are_made(smoke: Path):
    rows = re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert len(named) >= 7
    for name in named:
        stem, _, endings = name.replace("{model}", "MODEL").partition("{")
        variants = [stem + ending for ending in endings.rstrip("}").split(",")] if endings else [stem]
        for variant in variants:
            places = [variant.replace("MODEL", model) for model in ("pocket-olmoe", "pocket-mixtral")]
            assert any((smoke / RESULTS / place).exists() for place in places), variant
