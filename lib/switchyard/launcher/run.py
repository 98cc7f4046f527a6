"""Run a study from any state of the checkout, then its HTML report."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from switchyard.artifacts import shortages
from switchyard.errors import ERROR_LINE, InputError
from switchyard.launcher import options as command_line
from switchyard.launcher import processes, recover, report, times


def main(root: Path, arguments: Sequence[str]) -> int:
    """Run the study of the checkout `root` that the command line asks for; return the exit code."""
    options = command_line.parse(root, arguments)
    try:
        code = run_study(options)
    except InputError as error:
        return complain(str(error), 2)
    except KeyboardInterrupt:
        code = -signal.SIGINT
    except OSError as error:
        if not (line := shortages.line_about(error)):
            raise
        return complain(line, 1)
    if code < 0:
        name = signal.Signals(-code).name
        return complain(f"the run was ended by {name}; run the same command again to resume", 128 - code)
    return code


def run_study(options: argparse.Namespace) -> int:
    """The exit code of snakemake, -n where signal n ended it."""
    results = command_line.results_of(options)

    def run(command: list[str]) -> int:
        more = {"PYTHONPATH": str(options.root / "lib"), recover.MARKER: str(options.directory)}
        code = processes.run(command, folder=options.directory, environment={**os.environ, **more})
        if code:
            recover.end_orphans(options.directory)
        return code

    with recover.only_run(options.directory):
        is_look = options.report_only or options.is_dry
        recover.clear_remains(options.directory, results, on_cluster=not is_look)
        if not options.report_only:
            start = time.time()
            code = run([*command_line.snakemake(options, *options.extra), "--", *options.targets])
            if code or options.targets or options.is_dry or options.is_partial:
                return code
            if spent := times.job_seconds(results / "job-logs", options.root / "rules", since=start):
                print(f"switchyard: {times.in_words(spent, time.time() - start)}")
        return report.make(options, results, run)


def complain(message: str, code: int) -> int:
    """Print one error line; return the exit code."""
    print(f"{ERROR_LINE}{message}", file=sys.stderr)
    return code
