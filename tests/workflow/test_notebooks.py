"""The notebooks: without outputs in git, and each runs from a fresh kernel to a picture and a sentence."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
PICTURES = ("altair-viz", "<svg")


def names(paths: list[Path]) -> list[str]:
    return [path.stem for path in paths]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names(NOTEBOOKS))
def test_outputs_are_stripped(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=names(NOTEBOOKS))
def test_a_notebook_ends_in_a_picture_and_a_sentence(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(book, timeout=600, kernel_name="python3", resources=where).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    shown = [str(value) for output in outputs for value in output.get("data", {}).values()]
    assert any(picture in one for one in shown for picture in PICTURES)
    assert book.cells[-1].outputs[-1].text.strip().endswith(".")
    errors = [output for output in outputs if output.get("name") == "stderr" and "Warning" in output.text]
    assert not errors
