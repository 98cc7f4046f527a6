"""Run a study from any state of the checkout: `python workflow_scripts/run_study.py [--study FILE] [TARGET ...]`.

The one script here that belongs to no rule. It starts snakemake and adds what snakemake leaves to its user: one run at
a time in a folder, recovery after a killed run, one line for each cause of a failure, and a fresh HTML report.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "lib"))

from switchyard.launcher import run

if __name__ == "__main__":
    sys.exit(run.main(ROOT, sys.argv[1:]))
