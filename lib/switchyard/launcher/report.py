"""The HTML report of a study: written by snakemake beside its final name, and only if something is newer."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from switchyard.errors import InputError
from switchyard.launcher import options as command_line


def make(options: argparse.Namespace, results: Path, run: Callable[[list[str]], int]) -> int:
    """Write `results/report.html` if it is asked for, missing or stale; return the exit code of `run`, or 0.

    Raises:
        InputError: `results` does not exist.
    """
    report = results / "report.html"
    if not options.report_only and not is_stale(report, options):
        _say(f"{os.path.relpath(report)} is up to date")
        return 0
    if not results.is_dir():
        raise InputError(f"{os.path.relpath(results)} does not exist; run the study first, then its report")
    partial = report.with_name(f".{report.name}.{os.getpid()}.part.html")
    words = [*command_line.config_options(options.extra), "--report", str(partial)]
    stylesheet = options.root / "reports" / "stylesheet.css"
    if stylesheet.is_file():
        words += ["--report-stylesheet", str(stylesheet)]
    _say(f"writing {os.path.relpath(report)}")
    try:
        if code := run(command_line.snakemake(options, *words)):
            return code
        partial.replace(report)
    finally:
        partial.unlink(missing_ok=True)
    _say(f"wrote {os.path.relpath(report)}")
    return 0


def is_stale(report: Path, options: argparse.Namespace) -> bool:
    """Whether the report is missing, or older than a result, its own sources, or the workflow that it describes."""
    if not report.is_file():
        return True
    made_ns = report.stat().st_mtime_ns
    root = options.root
    shown = [path for path in (*report.parent.rglob("*"), *(root / "reports").rglob("*")) if path != report]
    shown += [*(root / "rules").glob("*.smk"), *(root / "workflow_scripts").glob("*.py"), root / "Snakefile"]
    shown += [root / "config.yaml", *([options.study] if options.study else [])]
    return any(path.stat().st_mtime_ns > made_ns for path in shown if path.is_file())


def _say(message: str) -> None:
    print(f"switchyard: {message}", file=sys.stderr)
