"""Plain snakemake, without the launcher: its documented uses on a finished study, and its working directories."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from workflow.checkout import RESULTS, ROOT, STUDY, copy_checkout

CHEAP = "harvest_corpus"
MADE = RESULTS / "prepare" / "corpus.parquet"


class Use(NamedTuple):
    """Options of snakemake, a word of its output, and a file that it makes; `{folder}` is a fresh folder."""

    options: str
    says: str = ""
    makes: str = ""


USES = [
    Use("--cores all", says="Nothing to be done"),
    Use("--cores 1", says="Nothing to be done"),
    Use("-n", says="Nothing to be done"),
    Use("-n --until fit_nulls --forcerun fit_nulls", says="fit_nulls"),
    Use("-n --forcerun write_tables", says="draw_figures"),
    Use("--report {folder}/report.html", makes="report.html"),
    Use("--report {folder}/report.zip", makes="report.zip"),
    Use("--lint", says="good condition"),
    Use("--dag", says="digraph"),
    Use("--summary", says="build_warehouse"),
    Use("--list-changes code"),
    Use("--list-changes input"),
    Use("--list-changes params"),  # snakemake 9.27 lists a file of each job here, changed or not
]


def snakemake(
    folder: Path, *options: str | Path, python: str | Path = sys.executable
) -> subprocess.CompletedProcess[str]:
    """Run snakemake in a folder, with an environment that knows nothing of the project."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SWITCHYARD_CHECKOUT")}
    command = [*map(str, (python, "-m", "snakemake", *options))]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


FAST = ("--cores all", "-n")
"""Each use takes three seconds or more; the others are among the slow tests."""


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(use, id=use.options, marks=[] if use.options in FAST else pytest.mark.slow)
        for use in USES
    ],
)
def test_a_documented_use_works_on_a_finished_study(use: Use, smoke: Path, tmp_path: Path) -> None:
    options = use.options.format(folder=tmp_path).split()
    ran = snakemake(smoke, "--configfile", STUDY, *options)
    assert ran.returncode == 0, ran.stderr
    assert use.says in ran.stdout + ran.stderr
    assert not use.makes or (tmp_path / use.makes).stat().st_size > 1_000_000
    if use.options in ("--list-changes code", "--list-changes input"):
        assert ran.stdout == ""


@pytest.mark.slow
def test_it_runs_from_another_folder_in_one_with_a_blank_and_an_accent(smoke: Path, tmp_path: Path) -> None:
    folder = tmp_path / "naïve é folder"
    shipped = "results/pocket/prepare/models/pocket-olmoe"
    places = ["--snakefile", smoke / "Snakefile", "--directory", folder]
    ran = snakemake(tmp_path, *places, "--cores", "1", CHEAP, shipped)
    assert ran.returncode == 0, ran.stderr
    assert (folder / shipped / "structure.json").is_file()


@pytest.mark.slow
def test_a_moved_checkout_and_one_behind_a_link_have_nothing_to_do(smoke_copy: Path, tmp_path: Path) -> None:
    moved = smoke_copy.rename(tmp_path / "moved")
    (tmp_path / "link").symlink_to(moved)
    for place in (moved, tmp_path / "link"):
        ran = snakemake(place, "--configfile", STUDY, "--cores", "1", "-n")
        assert "Nothing to be done" in ran.stdout + ran.stderr, ran.stdout


def test_no_path_of_this_machine_stands_in_the_records(smoke: Path) -> None:
    records = [path for path in (smoke / ".snakemake" / "metadata").rglob("*") if path.is_file()]
    assert len(records) > 100
    for path in records:
        record = path.read_text()
        assert str(smoke) not in record and sys.prefix not in record, path


def test_make_takes_a_study_file_with_a_blank_in_its_name() -> None:
    command = ["make", "-n", "study", "STUDY=studies/my study.yaml"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--study 'studies/my study.yaml'" in ran.stdout


@pytest.mark.slow
def test_a_checkout_that_cannot_be_written_to_is_one_line_and_runs_elsewhere(tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path / "checkout")
    for folder in [checkout, *(path for path in checkout.rglob("*") if path.is_dir())]:
        folder.chmod(0o555)
    command = [sys.executable, "workflow_scripts/run_study.py", "--study", STUDY, "--cores", "1"]
    if os.getuid() == 0:  # who may write everywhere
        command = [
            "setpriv",
            "--bounding-set=-dac_override,-dac_read_search,-fowner",
            "--inh-caps=-all",
            *command,
        ]
    ran = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=300)
    assert (ran.returncode, len(ran.stderr.splitlines())) == (2, 1)
    assert ran.stderr.startswith(f"switchyard: error: {checkout}") and "--directory FOLDER" in ran.stderr
    places = ["--directory", tmp_path / "elsewhere"]
    (tmp_path / "elsewhere").mkdir()
    ran = subprocess.run(
        [*command, *places, CHEAP], cwd=checkout, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "elsewhere" / MADE).is_file()


@pytest.mark.slow
def test_a_checkout_may_have_an_accent_in_its_path(tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path / "é")
    ran = snakemake(checkout, "--configfile", STUDY, "--cores", "1", CHEAP)
    assert ran.returncode == 0, ran.stderr
    assert (checkout / MADE).is_file()


def test_a_python_that_a_shell_would_not_find_is_one_line(smoke: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my folder"
    folder.mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    ran = snakemake(smoke, "--configfile", STUDY, "--cores", "1", python=folder / ".venv" / "bin" / "python")
    assert ran.returncode == 1
    (line,) = [line for line in ran.stderr.splitlines() if "error" in line.lower()]
    assert line.startswith(f"switchyard: error: {folder}") and "move the checkout" in line
