"""What a routing rule reads of a study's results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from switchyard.routing.registry import entry


def files_of_rule(
    folder: str | Path,
    model: str,
    config: str,
    rule: str,
    settings: Mapping[str, Any],
    datasets: Iterable[str],
    stage: str = "evaluate",
) -> dict[str, Any]:
    """Files below the results folder `folder` that the rule of a configuration reads, by name.

    A matched configuration reads the traces of the other on `datasets`, a list under `matched`;
    `stage` is their folder, `evaluate` or `code`.
    """
    calibrate = f"{folder}/calibrate/{model}"
    places = {
        "nulls": f"{calibrate}/nulls.parquet",
        "logits": f"{calibrate}/calibration_logits.parquet",
        "budgets": f"{calibrate}/budgets/{config}.parquet",
        "routing_table": f"{folder}/var/{model}/routing_table.parquet",
    }
    files: dict[str, Any] = {file: places[file] for file in entry(rule).reads}
    if matched := settings.get("matched"):
        traces = f"{folder}/{stage}/{model}/traces"
        files["matched"] = [f"{traces}/{matched}_{dataset}.parquet" for dataset in datasets]
    return files
