"""Acceptance of the device path on one card, in ten minutes: random weights at real dimensions, nothing downloaded.

make gpu-acceptance                                       all steps on the first card, JSON to gpu-acceptance.json
python -m bench.gpu_acceptance --device cpu --tiny        the script itself, on a CPU in under a minute

Every step stands alone: what it raises is its result, and the others go on. What only CUDA can answer says so. The JSON
is written again after every step, versions first. Exit code 1 where a step failed.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate
import torch
import transformers

from bench import gpu_steps
from bench.gpu_steps import Bench, Clock

LIMIT_S = 600.0
"""Of the whole run: a measurement is cut short, and steps are left out, where it has passed."""


def main(arguments: list[str] | None = None) -> int:
    """Run all steps; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu_acceptance", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="small dimensions, to try the script")
    parser.add_argument("--out", type=Path, default=Path("gpu-acceptance.json"))
    parser.add_argument("--limit-s", type=float, default=LIMIT_S)
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU; --device cpu --tiny tries the script without one")
    clock = Clock(given.limit_s)
    bench = Bench(given.device, tiny=given.tiny, clock=clock)
    found: dict[str, Any] = {"arguments": vars(given) | {"out": str(given.out)}, "steps": {}}
    for number, step in enumerate([versions, *gpu_steps.STEPS]):
        name = f"{number:02d} {step.__name__}"
        found["steps"][name] = answer = perform(step, bench, clock)
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {answer['status']}, {answer['seconds']:.1f} s", file=sys.stderr, flush=True)
    return int(any(step["status"] == "failed" for step in found["steps"].values()))


def perform(step: Callable[[Bench], dict[str, Any]], bench: Bench, clock: Clock) -> dict[str, Any]:
    """`status` (passed, failed, needs CUDA, left out), `seconds` and what the step found, or how it ended.

    A step passes if all its fields that are named `is_...` are true, wherever they stand.
    """
    if clock.left_s() <= 0:
        return {"status": "left out", "seconds": 0.0, "why": "out of time"}
    start = time.perf_counter()
    try:
        found = step(bench)
        answer = {"status": _status(found), **found}
    except Exception as error:  # the step's result, whatever it is
        line = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        answer = {"status": "failed", "error": line, "traceback": traceback.format_exc(limit=-4)}
    gc.collect()
    if bench.is_cuda:
        torch.cuda.set_sync_debug_mode("default")
        torch.cuda.empty_cache()
    return {**answer, "seconds": time.perf_counter() - start}


def _status(found: dict[str, Any]) -> str:
    verdicts = _verdicts(found)
    if not verdicts and gpu_steps.NEEDS_CUDA in found.values():
        return gpu_steps.NEEDS_CUDA
    return "passed" if all(verdicts) else "failed"


def _verdicts(found: Any) -> list[bool]:
    if not isinstance(found, dict):
        return []
    own = [value for name, value in found.items() if name.startswith("is_") and isinstance(value, bool)]
    return own + [one for value in found.values() for one in _verdicts(value)]


def versions(bench: Bench) -> dict[str, Any]:
    """What is measured on, and with what."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "accelerate": accelerate.__version__,
        "cuda": torch.version.cuda or "none",
        "threads": torch.get_num_threads(),
    }
    if bench.is_cuda:
        card = torch.cuda.get_device_properties(0)
        found |= {
            "card": card.name,
            "capability": f"{card.major}.{card.minor}",
            "memory_bytes": card.total_memory,
        }
        found["driver"] = nvidia_smi(
            "driver_version,clocks.sm,clocks.mem,temperature.gpu,power.draw,mig.mode.current"
        )
    return found


def nvidia_smi(query: str) -> str:
    """What the driver's tool answers; why it does not."""
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return f"{type(error).__name__}"


if __name__ == "__main__":
    sys.exit(main())
