"""Records which modules of the library the jobs of a study have imported, each in a process of its own.

`install` writes a `sitecustomize` beside the library of a checkout, which Python imports in every process of the study.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from switchyard.runtime.workers import VARIABLE

ALONE = (
    "4experts_topk_baseline",
    "8experts_bh_a030",
    "8experts_bh_budget_k3_unselected",
    "mixed_topk_as_8experts_bh_a030",
    "random_count_as_8experts_bh_budget_k3_unselected",
)
"""Configurations whose experiments run without a worker, which has the imports of earlier jobs: one of each rule."""

CODE = """
import atexit, json, os, sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "modules"
SCRIPT = sys.orig_argv[-1]
LOGS = {logs!r}

if "evaluate_experiment" in SCRIPT and any(log.encode() in Path(SCRIPT).read_bytes() for log in LOGS):
    os.environ.pop({variable!r}, None)


def record():
    job = getattr(sys.modules["__main__"], "snakemake", None)
    if job is not None:
        modules = [name for name, module in sys.modules.items()
                   if name.startswith("switchyard.") and not hasattr(module, "__path__")]
        FOLDER.mkdir(exist_ok=True)
        content = {{"rule": job.rule, "wildcards": dict(job.wildcards), "modules": sorted(modules)}}
        (FOLDER / f"{{os.getpid()}}.json").write_text(json.dumps(content))


atexit.register(record)
"""


def install(checkout: Path) -> None:
    """Record the jobs of the studies that run in this checkout from now on."""
    logs = [f"evaluate_experiment/pocket-olmoe_{name}_heldout.log" for name in ALONE]
    (checkout / "lib" / "sitecustomize.py").write_text(CODE.format(logs=logs, variable=VARIABLE))


def recorded(checkout: Path) -> list[dict[str, Any]]:
    """`rule`, `wildcards` and `modules` of every job that has run in the checkout."""
    return [json.loads(path.read_text()) for path in sorted((checkout / "modules").glob("*.json"))]
