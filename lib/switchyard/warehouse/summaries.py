"""The summary log of every experiment, `evaluate/{model}/logs/{config}_{dataset}.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from switchyard.artifacts.files import write_json
from switchyard.traces.schema import HEAD_KEYS
from switchyard.warehouse.database import open_read_only, rows, warehouse_stamp


def write_summaries(database: str | Path, folder: str | Path) -> list[Path]:
    """Write one summary per experiment below `folder`, the stage's; returns their paths in the study's order."""
    with open_read_only(database) as connection:
        heads = rows(connection, "SELECT * FROM logs ORDER BY ordinal")
        made = warehouse_stamp(connection)
        metrics = _by_experiment(rows(connection, "SELECT * FROM metrics"))
        quality = _by_experiment(rows(connection, "SELECT * FROM quality"))
    paths = []
    for head in heads:
        key = head["model"], head["config"], head["dataset"]
        path = Path(folder) / head["model"] / "logs" / f"{head['config']}_{head['dataset']}.json"
        write_json(path, summary(head, metrics[key], quality[key], made))
        paths.append(path)
    return paths


def summary(
    head: dict[str, Any], metrics: dict[str, Any], quality: dict[str, Any], made: dict[str, Any]
) -> dict[str, Any]:
    """One summary; its `provenance` is the experiment's stamp, with that of the metrics, `made`, inside."""
    named = head | {"null": head["null_name"], "schema_version": _number(head["schema_version"])}
    return {
        **{key: named[key] for key in HEAD_KEYS[:-1]},
        "metrics": metrics,
        "quality": quality,
        "summary": {"total_samples": head["total_samples"], "total_tokens": head["total_tokens"]},
        "provenance": {**orjson.loads(head["provenance"]), "metrics": made},
    }


def _number(text: str) -> int | str:
    """A version that is a whole number stands as one, as it was given."""
    return int(text) if text.isdecimal() else text


def _by_experiment(found: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(row.pop("model"), row.pop("config"), row.pop("dataset")): row for row in found}
