"""Run benchmarks and print their ratios as one Markdown table.

make bench                                        all of them, on the CPU
python -m bench selection attached                some
python -m bench selection attached --device cuda  on a GPU, where a benchmark can
"""

from __future__ import annotations

import argparse
import importlib
import platform
from pathlib import Path

import torch

from bench.paired import HEADER

NAMES = (
    "selection",
    "attached",
    "quantised",
    "var",
    "profile",
    "trace",
    "start_up",
    "harness",
    "observation",
    "warehouse",
)


def main() -> None:
    """Print a table of ratios, a line as soon as it is known."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    if unknown := sorted(set(given.names) - set(NAMES)):
        parser.error(f"no benchmark {', '.join(unknown)}: use {', '.join(NAMES)}")
    print(f"{machine(given.device)}\n\n{HEADER}", flush=True)
    for name in given.names or NAMES:
        for line in importlib.import_module(f"bench.{name}").lines(given.device):
            print(line.told(), flush=True)


def machine(device: str) -> str:
    """What the figures were measured on."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else _processor()
    return f"{name}, {torch.get_num_threads()} threads at most, torch {torch.__version__}"


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
