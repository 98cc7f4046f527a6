"""The verbs `profile` and `package`."""

from __future__ import annotations

import argparse
from pathlib import Path

from switchyard.arguments import add_verb, file_to_write
from switchyard.reporting.profile_verb import register as register_profile


def package_study(arguments: argparse.Namespace) -> None:
    """Write a finished study as one archive (RO-Crate) with checksums: configuration, lock, logs, tables, figures."""
    from switchyard.artifacts.stamps import CHECKOUT
    from switchyard.reporting.package import package

    output = file_to_write(arguments.output or Path(f"{arguments.study.resolve().name}.zip"))
    names = package(arguments.study, CHECKOUT, output)
    print(f"{output}: {len(names):,} files, {output.stat().st_size / 1e6:,.1f} MB")


def register(verbs: argparse._SubParsersAction) -> None:
    """Add `profile` and `package`, which set `run`."""
    register_profile(verbs)
    verb = add_verb(verbs, "package", package_study)
    verb.add_argument(
        "--study", type=Path, required=True, help="results folder of the study, results/<study>"
    )
    verb.add_argument("--output", type=Path, help="the ZIP file; default: <study>.zip")
