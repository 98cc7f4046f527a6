"""The last invariant: a number is the same wherever it is printed."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from switchyard.artifacts.files import read_json, read_table
from switchyard.warehouse.invariants import ImpossibleResult
from switchyard.warehouse.tables import PRINTED, cell


def refuse_differing_prints(tables: str | Path, logs: str | Path) -> None:
    """Raise ImpossibleResult where the CSV, JSON and Parquet tables and the summaries do not agree to the digit.

    `tables` holds what `write_tables` wrote, `logs` the folder that `write_summaries` wrote into.
    """
    for name in PRINTED:
        stored = read_table(Path(tables) / f"{name}.parquet").to_pylist()
        _compare(f"{name}.json", read_json(Path(tables) / f"{name}.json"), stored)
        with (Path(tables) / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            texts = [{key: cell(value) for key, value in row.items()} for row in stored]
            _compare(f"{name}.csv", list(csv.DictReader(file)), texts)
    results = read_table(Path(tables) / "bh_routing_results.parquet").to_pylist()
    _compare("the summary logs", list(_from_logs(results, Path(logs))), results)


def _from_logs(results: list[dict[str, Any]], logs: Path) -> Iterator[dict[str, Any]]:
    """The rows of the results table again, from the summary of each."""
    for row in results:
        log = read_json(logs / row["model"] / "logs" / f"{row['config_name']}_{row['dataset']}.json")
        head = {"config_name": log["config"], "routing_type": log["strategy"]}
        known = {**log, **log["quality"], **log["metrics"], **head}
        yield {key: known[key] for key in row}


def _compare(place: str, found: list[dict[str, Any]], stored: list[dict[str, Any]]) -> None:
    if len(found) != len(stored):
        raise ImpossibleResult(
            f"{place}: has {len(found)} rows, the Parquet table {len(stored)}; aggregate again"
        )
    for ours, theirs in zip(found, stored, strict=True):
        for key, value in theirs.items():
            if ours.get(key) != value:
                named = f"{theirs['model']} {theirs['config_name']} {theirs.get('dataset', '')}".strip()
                raise ImpossibleResult(
                    f"{place}: {key} of {named} is {ours.get(key)}, in the Parquet table {value}; aggregate again"
                )
