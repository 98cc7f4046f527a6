"""Repeat one experiment from its own stamp, and compare it with the study's result value for value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from switchyard.artifacts.digests import digests
from switchyard.artifacts.files import read_json, read_table
from switchyard.artifacts.stamps import library_versions, sha256_file
from switchyard.errors import InputError
from switchyard.models.load import folder_digest
from switchyard.study.experiment import Experiment
from switchyard.study.rule_files import files_of_rule

COMPARED = {
    "trace": "traces/{config}_{dataset}.parquet",
    "scores": "scores/{config}_{dataset}.parquet",
    "trace_repeat": "traces/{config}_{dataset}_repeat.parquet",
    "scores_repeat": "scores/{config}_{dataset}_repeat.parquet",
}
"""Files of an experiment whose values are compared, below `evaluate/{model}/`; the logs are made of them."""
LOG = "logs/{config}_{dataset}_internal_routing.json"


class Recorded(NamedTuple):
    """An experiment as one of its result files describes it."""

    experiment: Experiment
    inputs: dict[str, str]
    """SHA-256 of each input by name."""
    libraries: dict[str, str]
    """Version of each library by name."""
    results: Path
    """The results folder of its study."""


class Difference(NamedTuple):
    """A column in which two tables differ."""

    file: str
    column: str
    rows: int
    """Rows that differ; all rows where the number of rows differs."""
    first: int
    """The first of them."""


def recorded(path: Path) -> Recorded:
    """Read a summary or an internal log, `evaluate/{model}/logs/*.json` in the results of a study.

    Raises:
        InputError: the file is missing, is no result of an experiment, or lies elsewhere.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a file of results/<study>/evaluate/<model>/logs")
    content = read_json(path)
    made = content.get("provenance", {}) if isinstance(content, dict) else {}
    if "experiment" not in made:
        raise InputError(f"{path}: holds no stamp of an experiment; give a file of evaluate/<model>/logs")
    folder = path.resolve().parent
    if [folder.name, folder.parents[1].name] != ["logs", "evaluate"]:
        raise InputError(
            f"{path}: is outside the results folder of a study, which holds its inputs; give the file in that folder"
        )
    return Recorded(
        Experiment.from_json(made["experiment"]), made["inputs"], made["libraries"], folder.parents[2]
    )


def inputs_of(one: Recorded) -> dict[str, Any]:
    """Files that the experiment reads: `model` (a folder), `dataset`, and those of its rule.

    Raises:
        InputError: one is missing.
    """
    it = one.experiment
    prepared = one.results / "prepare"
    files = {
        "model": prepared / "models" / it.model,
        "dataset": prepared / "datasets" / f"{it.dataset}.parquet",
        **files_of_rule(one.results, it.model, it.config, it.rule, it.settings, [it.dataset]),
    }
    for found in files.values():
        for path in found if isinstance(found, list) else [found]:
            if not Path(path).exists():
                raise InputError(
                    f"{path}: no such file; run the study again, or give a complete results folder"
                )
    return files


def changed_inputs(one: Recorded, files: Mapping[str, Any]) -> list[str]:
    """Names of the inputs whose digest is another than the recorded one."""
    of_rule = {name: found for name, found in files.items() if name not in ("model", "dataset")}
    now = {
        "model": folder_digest(files["model"]),
        "dataset": sha256_file(files["dataset"]),
        **digests(of_rule),
    }
    return sorted(name for name in now | one.inputs if now.get(name) != one.inputs.get(name))


def changed_libraries(one: Recorded) -> dict[str, tuple[str | None, str | None]]:
    """Recorded and installed version of each library that has another."""
    now = dict(library_versions())
    names = sorted(now | one.libraries)
    return {
        name: (one.libraries.get(name), now.get(name))
        for name in names
        if one.libraries.get(name) != now.get(name)
    }


def differences(one: Recorded, again: Path) -> Iterator[Difference]:
    """Where the files in `again` hold other values than the study's."""
    it = one.experiment
    for name, template in COMPARED.items():
        place = template.format(config=it.config, dataset=it.dataset)
        before = read_table(one.results / "evaluate" / it.model / place)
        yield from table_differences(name, before, read_table(again / place))


def table_differences(name: str, before: pa.Table, after: pa.Table) -> Iterator[Difference]:
    """Columns whose values are not the same, bit for bit; NaN is NaN."""
    for column in dict.fromkeys([*before.column_names, *after.column_names]):
        both = column in before.column_names and column in after.column_names
        if not both or len(before) != len(after):
            yield Difference(name, column, max(len(before), len(after)), 0)
            continue
        first, second = before[column].to_pylist(), after[column].to_pylist()
        rows = [
            row for row, pair in enumerate(zip(first, second, strict=True)) if repr(pair[0]) != repr(pair[1])
        ]
        if rows:
            yield Difference(name, column, len(rows), rows[0])


def repeat(one: Recorded, files: Mapping[str, Any], output: Path, code: str) -> None:
    """Run the experiment into `output`, with the folders of `evaluate/{model}/`."""
    from switchyard.evaluation.job import evaluate

    it = one.experiment
    places = {
        name: output / template.format(config=it.config, dataset=it.dataset)
        for name, template in {**COMPARED, "log": LOG}.items()
    }
    for place in places.values():
        place.parent.mkdir(parents=True, exist_ok=True)
    reads = {name: found for name, found in files.items() if name not in ("model", "dataset")}
    evaluate(
        experiment=it.as_json(),
        model=str(files["model"]),
        dataset=str(files["dataset"]),
        reads=reads,
        files={name: str(place) for name, place in places.items()},
        gpu_mem_gb=0,
        code=code,
    )
