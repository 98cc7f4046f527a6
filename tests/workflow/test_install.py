"""Two installations at once in one checkout: the second waits for the first, and a cut one is begun again."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile, and a lock that asks for nothing."""
    folder = tmp_path.resolve()
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("envs", "lib"):
        (folder / name).mkdir()
    (folder / "envs" / "lock.txt").write_text("# nothing\n")
    return folder


def install(folder: Path) -> subprocess.Popen[str]:
    command = ["make", "install", f"PYTHON={sys._base_executable}"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"waited a minute for {path}"
        time.sleep(0.01)


def test_a_second_installation_waits_for_the_first(checkout: Path) -> None:
    first = install(checkout)
    wait_for(checkout / ".venv" / ".installing")
    second = install(checkout)
    told = [each.communicate(timeout=300)[1] for each in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), told
    assert "another make is installing .venv; waiting for it" in told[1]
    assert "half installed" not in told[1]
    assert (checkout / ".venv" / ".installed").is_file()
    assert not (checkout / ".venv" / ".installing").exists()
    made = (checkout / ".venv" / "pyvenv.cfg").stat().st_mtime_ns
    assert install(checkout).wait(timeout=60) == 0
    assert (checkout / ".venv" / "pyvenv.cfg").stat().st_mtime_ns == made
