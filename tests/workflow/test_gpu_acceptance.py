"""The acceptance of one card, tried on a CPU: every step runs alone, and what needs CUDA says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

BROKEN = """
import sys
import torch
from bench import gpu_acceptance, gpu_steps

def breaks(bench):
    raise ZeroDivisionError("a mistake")

def is_wrong(bench):
    return {"deep": {"is_equal": False}}

def is_right(bench):
    return {"deep": {"is_equal": True}}

def asks(bench):
    return {"waits": gpu_steps.NEEDS_CUDA}

assert gpu_acceptance.perform(is_right, None, gpu_steps.Clock(0))["status"] == "left out"
gpu_steps.STEPS = (breaks, is_wrong, is_right, asks)
torch.cuda.is_available = lambda: False
try:
    gpu_acceptance.main([])
except SystemExit as end:
    assert end.code == 2
sys.exit(gpu_acceptance.main(sys.argv[1:]))
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'lib'}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def statuses(path: Path) -> dict[str, str]:
    return {name: step["status"] for name, step in json.loads(path.read_text())["steps"].items()}


def test_all_steps_run_on_a_cpu_with_tiny_dimensions(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    ended = run("-m", "bench.gpu_acceptance", "--device", "cpu", "--tiny", "--out", str(out))
    assert ended.returncode == 0, ended.stderr + out.read_text()
    steps = json.loads(out.read_text())["steps"]
    assert [*steps][0] == "00 versions" and len(steps) == 11
    assert {name for name, status in statuses(out).items() if status != "passed"} == {"04 waits"}
    assert steps["04 waits"]["status"] == "needs CUDA"
    assert steps["09 traced_evaluation"]["busy_share"] == "needs CUDA"
    assert set(steps["07 speed"]["prefill 2 x 16"]) == {
        "native grouped_mm",
        "native batched_mm",
        "native compiled",
        "ragged top-k",
        "ragged half of top-k",
        "bh",
    }
    assert 3.5 < steps["07 speed"]["bh_mean"] < 4.5


def test_a_step_that_fails_leaves_the_others(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    ended = run("-c", BROKEN, "--device", "cpu", "--tiny", "--out", str(out))
    assert ended.returncode == 1, ended.stderr
    assert "torch sees no GPU; --device cpu --tiny tries the script" in ended.stderr
    assert [*statuses(out).values()] == ["passed", "failed", "failed", "passed", "needs CUDA"]
    assert json.loads(out.read_text())["steps"]["01 breaks"]["error"] == "ZeroDivisionError: a mistake"
