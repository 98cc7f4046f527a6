"""The verb `reproduce`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from switchyard.arguments import add_verb, folder_to_write


def reproduce(arguments: argparse.Namespace) -> int:
    """Repeat one experiment of a study from its own stamp, and compare the result value for value."""
    from switchyard.artifacts.fingerprints import fingerprint
    from switchyard.evaluation.reproduce import (
        changed_inputs,
        changed_libraries,
        differences,
        inputs_of,
        recorded,
        repeat,
    )

    one = recorded(arguments.experiment)
    files = inputs_of(one)
    it = one.experiment
    print(f"{it.study}: {it.config} of {it.model} on {it.dataset}")
    changed = changed_inputs(one, files)
    state = f"another digest: {', '.join(changed)}" if changed else "digests as recorded"
    print(f"inputs {', '.join(one.inputs)}: {state}")
    for name, (before, now) in changed_libraries(one).items():
        print(f"library {name}: {before} then, {now} now")
    module = it.home.partition(":")[0]
    with tempfile.TemporaryDirectory(prefix="switchyard-") as scratch:
        output = folder_to_write(arguments.output) if arguments.output else Path(scratch)
        repeat(one, files, output, fingerprint(Path(__file__), module))
        found = list(differences(one, output))
    for file, column, rows, first in found:
        print(f"{file}: column {column} differs in {rows:,} rows, the first is row {first}")
    print("values: the same, bit for bit" if not found else f"values: {len(found)} columns differ")
    return 1 if found else 0


def register(verbs: argparse._SubParsersAction) -> None:
    """Add `reproduce`, which sets `run`."""
    verb = add_verb(verbs, "reproduce", reproduce)
    verb.add_argument(
        "--experiment", type=Path, required=True, help="evaluate/<model>/logs/*.json of a study's results"
    )
    verb.add_argument("--output", type=Path, help="folder for the repeated files; default: they are not kept")
