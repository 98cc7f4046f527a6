"""The verb `score-code` of the command line: programs from elsewhere, run in the sandbox and scored."""

from __future__ import annotations

import argparse
import os
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switchyard.arguments import add_verb, at_least, folder_to_write
from switchyard.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

SCORES = "scores.json"
SCORED = "scored_samples.jsonl"
KEPT = "scored-so-far.jsonl"
"""Outcomes of a call that was ended; the same call goes on from them."""


def score_code(arguments: argparse.Namespace) -> None:
    """Execute completions of HumanEval or MBPP problems in a sandbox and write pass@k; resumes after a kill."""
    from switchyard.artifacts.files import write_json, write_text
    from switchyard.artifacts.fingerprints import fingerprint
    from switchyard.artifacts.stamps import stamp
    from switchyard.evaluation.sandbox.limits import Limits
    from switchyard.evaluation.sandbox.open import opened
    from switchyard.evaluation.scoring import WORKERS_PER_CORE, candidates_of, score, scored, summary
    from switchyard.runtime.progress import bar

    folder = folder_to_write(arguments.output)
    problems = _problems(arguments.problems, arguments.layout)
    candidates = candidates_of(
        problems.to_pylist(), _completions(arguments.samples), place=str(arguments.samples)
    )
    limits = Limits(seconds=arguments.seconds, memory_mb=arguments.memory_mb)
    ks = sorted(set(arguments.k))
    with opened(limits) as proved, bar(len(candidates), "score-code", unit="samples") as progress:
        outcomes = score(
            candidates,
            proved,
            workers=arguments.workers or WORKERS_PER_CORE * (os.cpu_count() or 1),
            kept=folder / KEPT,
            progress=progress.update,
        )
    made = stamp(
        code=fingerprint(Path(__file__), "switchyard.evaluation.code_verbs"),
        config={"k": ks, "sandbox": proved.stamp},
        inputs={"samples": arguments.samples, "problems": arguments.problems},
    )
    found = summary(candidates, outcomes, ks)
    write_text(folder / SCORED, _lines(scored(candidates, outcomes)))
    write_json(folder / SCORES, {**found, "provenance": {**made, "sandbox": proved.stamp}})
    (folder / KEPT).unlink(missing_ok=True)
    for k in ks:
        share = found[f"pass@{k}"]
        print(f"pass@{k}: {'-' if share is None else f'{share:.4f}'}")
    print(", ".join(f"{number} {reason}" for reason, number in found["reasons"].items()))


def _lines(rows: Any) -> str:
    import orjson

    return "".join(orjson.dumps(row).decode() + "\n" for row in rows)


def register(verbs: argparse._SubParsersAction) -> None:
    """Add `score-code`, which sets `run`."""
    verb = add_verb(verbs, "score-code", score_code)
    add, whole = verb.add_argument, at_least(1, int)
    files = ".jsonl, .json, .csv or .parquet, plain or compressed"
    add(
        "--samples",
        type=Path,
        required=True,
        help=f"what is executed: rows with task_id and completion ({files})",
    )
    add(
        "--problems",
        type=Path,
        required=True,
        help=f"HumanEval or MBPP, or problems in their columns ({files})",
    )
    add(
        "--layout",
        choices=("humaneval", "mbpp"),
        help="what the columns of the problems mean (seen from them)",
    )
    add("--k", type=whole, nargs="+", default=[1, 10], help="pass@k for these k (1 10)")
    add("--output", type=Path, required=True, help="folder to write into")
    add(
        "--seconds",
        type=at_least(1),
        default=10,
        help="CPU time of a program; wall time is three times as long (10)",
    )
    add("--memory-mb", type=at_least(64, int), default=1024, help="memory of a program (1024)")
    add(
        "--workers",
        type=whole,
        help="programs that run at once (two for each core, since starting one is mostly waiting)",
    )


def _problems(path: Path, layout: str | None) -> pa.Table:
    from switchyard.text.programs import layout_of
    from switchyard.text.sources import read_file
    from switchyard.text.tasks import prepare

    rows = read_file(path)
    first = next(rows)
    layout = layout or layout_of(first.values)
    if layout is None:
        raise InputError(
            f"{path}: its columns ({', '.join(first.values)}) are those of no layout; HumanEval has entry_point, MBPP "
            "test_list"
        )
    return prepare(chain([first], rows), kind="code", layout=layout)


def _completions(path: Path) -> list[tuple[str, str]]:
    from switchyard.text.cells import REMEDY, read_cell
    from switchyard.text.sources import read_file

    found = []
    for row in read_file(path):
        task_id, completion = read_cell(row, "task_id"), read_cell(row, "completion")
        if not isinstance(completion, str):
            raise InputError(f"{row.place}, column 'completion': not text; {REMEDY}")
        found.append((str(task_id), completion))
    return found
