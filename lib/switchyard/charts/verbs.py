"""The verb `draw-routing` of the command line."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switchyard.arguments import add_verb, at_least, folder_to_write
from switchyard.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from switchyard.charts.observed import Observed


def draw_routing(arguments: argparse.Namespace) -> None:
    """Draw the figures of an observed model from its tables."""
    from switchyard.artifacts.fingerprints import fingerprint
    from switchyard.artifacts.stamps import stamp
    from switchyard.charts.observed import OBSERVED, draw, drawable
    from switchyard.runtime.progress import bar

    folder, statistics = folder_to_write(arguments.output), _statistics(arguments.input)
    thresholds = {name: getattr(arguments, name) for name in ("frequency_threshold", "entropy_threshold")}
    found = _observed(statistics, thresholds, arguments.num_experts)
    made = stamp(code=fingerprint(Path(__file__)), config=thresholds, inputs={"statistics": statistics})
    with bar(len(drawable(found)), "draw-routing", unit="figures") as progress:
        draw(found, folder, made, progress.update)
    for name in OBSERVED.keys() - set(drawable(found)):
        print(f"{name} is left out: its table does not lie beside {statistics}")
    print(f"{len(drawable(found))} figures in {folder}, each as .svg, .png and .html")


def register(verbs: argparse._SubParsersAction) -> None:
    """Add `draw-routing`, which sets `run`."""
    add = add_verb(verbs, "draw-routing", draw_routing).add_argument
    add(
        "--input", type=Path, required=True, help="what `observe` wrote: its folder or its routing_stats file"
    )
    add("--output", "--output-dir", type=Path, required=True, help="folder of the figures")
    add("--frequency-threshold", type=int, default=50, help="eligible from so often (50)")
    add("--entropy-threshold", type=float, default=0.5, help="eligible below, nats (0.5)")
    add("--num-experts", type=at_least(1, int), help="default: what the file's stamp says")


def _statistics(given: Path) -> Path:
    path = given / "routing_stats.parquet" if given.is_dir() else given
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the folder or the routing_stats file of an observation")
    return path


def _observed(statistics: Path, thresholds: dict[str, Any], num_experts: int | None) -> Observed:
    from switchyard.artifacts.files import read_stamp
    from switchyard.charts.observed import Observed
    from switchyard.charts.routing.token_types import TokenTypes
    from switchyard.observation.hypothesis import validate
    from switchyard.observation.input_tables import read_table

    made = read_stamp(statistics) if statistics.suffix == ".parquet" else {}
    num_experts = num_experts or made.get("num_experts")
    checked = {"num_experts": num_experts, "special_ids": () if "totals" in made else None}
    stats = read_table(statistics).to_pandas()
    verdict = validate(stats, **thresholds, **checked, place=str(statistics)).as_json()
    counts = statistics.with_name("expert_counts.parquet")
    return Observed(
        TokenTypes.of(stats, verdict, **checked),
        read_table(counts).to_pandas() if counts.is_file() and num_experts else None,
        _context(statistics, stats, num_experts),
        num_experts,
    )


def _context(statistics: Path, stats: pd.DataFrame, num_experts: int | None) -> pd.DataFrame | None:
    """What context adds, from the counts beside the statistics."""
    from switchyard.artifacts.files import read_stamp, read_table
    from switchyard.observation.context import context_measures

    path = statistics.with_name("context_counts.parquet")
    if not path.is_file() or "experts" not in stats:
        return None
    kept = {int(number): share for number, share in read_stamp(path).get("kept", {}).items()}
    table, experts = read_table(path), stats["experts"].iloc[0]
    if not len(table):
        return None
    top_k = len(json.loads(experts) if isinstance(experts, str) else experts)
    return context_measures(
        table, top_k=top_k, num_experts=num_experts, kept=kept, place=str(path)
    ).to_pandas()
