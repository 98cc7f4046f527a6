"""The paper of the smoke study: compiled where there is a TeX, with embedded fonts and the study's numbers."""

from __future__ import annotations

import csv
import shutil
import subprocess
from pathlib import Path

import pytest

from workflow.checkout import RESULTS


@pytest.fixture
def paper(smoke: Path) -> Path:
    folder = smoke / RESULTS / "paper"
    if shutil.which("latexmk") is None:
        assert not (folder / "paper.pdf").exists()
        pytest.skip("latexmk is not installed: paper.pdf and supplementary.pdf are not made here")
    return folder


def test_both_documents_are_compiled(paper: Path) -> None:
    for name in ("paper", "supplementary"):
        assert (paper / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_fonts_are_embedded_and_numbers_are_printed(paper: Path) -> None:
    if shutil.which("pdffonts") is None:
        pytest.skip("pdffonts (poppler-utils) is not installed: fonts are not looked at")
    fonts = subprocess.run(
        ["pdffonts", paper / "paper.pdf"], capture_output=True, text=True
    ).stdout.splitlines()[2:]
    assert fonts and all(line.split()[-5] == "yes" for line in fonts)
    text = subprocess.run(["pdftotext", paper / "paper.pdf", "-"], capture_output=True, text=True).stdout
    assert "??" not in text and "smoke" in text


def test_every_macro_has_its_cell(smoke: Path) -> None:
    folder = smoke / RESULTS / "paper"
    rows = list(csv.DictReader((folder / "numbers.csv").open()))
    macros = (folder / "numbers.tex").read_text()
    assert len(rows) > 10
    for row in rows:
        assert f"\\newcommand{{\\{row['macro']}}}{{{row['printed']}}}" in macros
        assert (smoke / RESULTS / row["file"]).is_file()
