"""The files of a profile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from switchyard.artifacts.files import write_json, write_table, write_text
from switchyard.artifacts.stamps import attach_to
from switchyard.profiling.run import Profile

TABLES = ("components", "operators", "scaling", "roofline")


def write_profile(folder: Path, found: Profile, *, head: Mapping[str, Any], stamp: Mapping[str, Any]) -> None:
    """Write the tables as CSV with their stamps beside them, the latencies as Parquet, and two JSON files.

    `head` says in the JSON files which model ran on what.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        write_text(folder / f"{name}.csv", getattr(found, name).to_csv(index=False))
        attach_to(folder / f"{name}.csv", stamp)
    write_table(
        folder / "latency.parquet", pa.Table.from_pandas(found.latency, preserve_index=False), dict(stamp)
    )
    for name in ("overhead", "performance_model"):
        content = {**getattr(found, name), "provenance": stamp}
        write_json(folder / f"{name}.json", {**head, **content})
