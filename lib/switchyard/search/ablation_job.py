"""The ablation of a model's rules from files to a file, in whichever process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from switchyard.artifacts.files import write_table
from switchyard.runtime.progress import bar
from switchyard.search.ablation import ablate
from switchyard.search.components import SCHEMA, bh_components, var_components
from switchyard.search.job import Job, sizes_of
from switchyard.search.spaces import BH

COMPONENTS = {"var": var_components, BH: bh_components}
"""By rule: what of it can be switched off."""


def ablate_rules(
    *, wholes: dict[str, dict[str, Any]], text: dict[str, Any], output: str, code: str, **job: Any
) -> None:
    """Write a table with the rows of `ablate` for each rule, after the columns `rule` and `config`.

    Args:
        wholes: by rule, `var` or `bh`: `config`, the name of a configuration of the study, and its `settings`.
        text: see `switchyard.search.job.evaluate_points`.
        output: the file to write.
        code: fingerprint of the library code.
        job: see `switchyard.search.job.evaluate_points`.
    """
    given = Job(**job)
    ready, rows = given.ready(text), []
    with bar(len(wholes), "ablation", unit="rules") as progress:
        for rule, whole in wholes.items():
            components = COMPONENTS[rule](whole["settings"], given.structure["num_experts"])
            found = ablate(ready.evaluator, ready.candidates(rule), whole["settings"], components)
            rows += [{"rule": rule, "config": whole["config"], **row} for row in found]
            progress.update(1)
    made = given.stamp(code, {"text": text["path"]}, wholes=wholes, text=sizes_of(text))
    write_table(Path(output), pa.Table.from_pylist(rows, schema=SCHEMA), made)
