"""The documentation site: built without a warning, with links that lead somewhere, and readable in a browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0 and "WARNING" not in ran.stderr, ran.stderr
    return folder


@pytest.mark.slow
def test_every_link_of_the_site_leads_to_a_place(site: Path) -> None:
    pages = {path: path.read_text() for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) > 15
    broken = []
    for path, text in pages.items():
        for link in re.findall(r'(?:href|src)="([^"]+)"', text):
            if re.match(r"[a-z]+:", link) or link.startswith("#"):
                continue
            place, _, anchor = link.partition("#")
            target = (path.parent / place).resolve()
            if not target.is_file():
                broken.append(f"{path.name}: {link}")
            elif anchor and f'id="{anchor}"' not in target.read_text():
                broken.append(f"{path.name}: {link} has no such anchor")
    assert not broken, "\n".join(sorted(set(broken)))


@pytest.mark.slow
def test_the_site_loads_nothing_from_the_network(site: Path) -> None:
    text = "".join(path.read_text() for path in site.rglob("*.html"))
    assert not re.findall(r'(?:src|href)="(https?://[^"]+\.(?:js|css|woff2?))"', text)


@pytest.mark.slow
def test_the_reference_shows_signatures_and_docstrings(site: Path) -> None:
    page = (site / "reference/routing.html").read_text()
    assert "BenjaminiHochberg" in page and "Route every MoE block" in page and "InputError" in page
