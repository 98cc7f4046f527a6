"""The spaces that a study can name: VAR's thresholds by the roadmap or by quantiles of the model's own, and BH's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from switchyard.errors import InputError
from switchyard.observation.input_tables import need
from switchyard.routing.null_names import NULLS, left_out
from switchyard.search.space import Dimension, Quantiles, Space

ROADMAP = (
    Dimension("frequency_threshold", "integer", 10, 200, log=True),
    Dimension("entropy_threshold", "real", 0.1, 1.5),
    Dimension("confidence_threshold", "real", 0.5, 0.95),
    Dimension("cache_size", "integer", 100, 10_000, log=True),
    Dimension("cache_ttl_seconds", "integer", 10, 300, log=True),
    Dimension("context_window_size", "integer", 2, 8),
)
"""VAR's six parameters with the ranges of its research roadmap, section 3.2; those over a decade or more are log."""

OBSERVED = {"entropy_threshold": "mean_entropy", "confidence_threshold": "mean_confidence"}
"""Thresholds that can be quantiles, and the column of routing statistics that they are quantiles of."""

ROUTE_WEIGHTS = Dimension("route_weights", "categorical", choices=("table", "live"))

BH_ALPHA = Dimension("alpha", "real", 0.01, 0.95, step=0.01)

SPACES = ("roadmap", "quantiles", "bh")


def make_space(
    entry: str | Mapping[str, Any],
    *,
    structure: Mapping[str, Any],
    stats: pa.Table | None = None,
    place: str = "routing statistics",
) -> Space:
    """The space of a config entry: a name of SPACES, or a mapping with such a `name` and changes to it.

    `add` lists `fast_path_experts`, `route_weights`, or both. `dimensions` maps a name to the fields of a `Dimension`:
    those given replace the space's own, a new name with a `kind` is added, null leaves the dimension out.

    - `roadmap`: ROADMAP.
    - `quantiles`: the same, with `entropy_quantile` and `confidence_quantile` from 0 to 1 in the place of the two
      thresholds: quantiles of the token ids' mean entropies and mean confidences over all observed layers, each
      weighted by how often the id occurred. So `entropy_quantile` is the share of the observed tokens whose id has an
      entropy below the threshold, up to one id.
    - `bh`: alpha in hundredths, `max_k` up to the number of experts (log), and the nulls that the model can have.

    Args:
        structure: the model's, for its experts and trained top-k.
        stats: `frequency, mean_entropy, mean_confidence`, as `observe` writes them; needed for `quantiles`.
        place: what messages call `stats`.

    Raises:
        InputError: an unknown name, a range that is none, or statistics that are missing.
    """
    entry = {"name": entry} if isinstance(entry, str) else dict(entry)
    name = entry.get("name")
    if name not in SPACES:
        raise InputError(f"search space {name!r} is unknown; use {', '.join(SPACES)}")
    space = {"roadmap": roadmap, "quantiles": quantiles, "bh": bh}[name](structure, stats, place)
    space = space.with_dimensions(*(_extra(one, structure) for one in entry.get("add", ())))
    for dimension, fields in (entry.get("dimensions") or {}).items():
        space = _changed(space, dimension, fields)
    return space


def roadmap(structure: Mapping[str, Any], stats: pa.Table | None, place: str) -> Space:
    """VAR's thresholds with the roadmap's ranges."""
    return Space("roadmap", ROADMAP)


def quantiles(structure: Mapping[str, Any], stats: pa.Table | None, place: str) -> Space:
    """VAR's thresholds, those of entropy and confidence as quantiles of what was observed.

    Raises:
        InputError: there are no routing statistics.
    """
    if stats is None:
        raise InputError(
            "search space quantiles: needs routing statistics; give routing_stats.parquet of the model"
        )
    renamed = {setting: setting.replace("threshold", "quantile") for setting in OBSERVED}
    dimensions = (
        Dimension(renamed[one.name], "real", 0.0, 1.0) if one.name in renamed else one for one in ROADMAP
    )
    values = {
        renamed[setting]: _observed(stats, setting, column, place) for setting, column in OBSERVED.items()
    }
    return Space("quantiles", tuple(dimensions), values)


def bh(structure: Mapping[str, Any], stats: pa.Table | None, place: str) -> Space:
    """BH's level, cap and null; settings are those of `switchyard.routing.bh` in a configuration."""
    experts = structure["num_experts"]
    missing = left_out(experts, structure["top_k"])
    nulls = [one for one in NULLS if one not in missing]
    return Space(
        "bh",
        (
            BH_ALPHA,
            Dimension("max_k", "integer", 1, experts, log=True),
            Dimension("null", "categorical", choices=nulls),
        ),
    )


def _observed(stats: pa.Table, setting: str, column: str, place: str) -> Quantiles:
    need(stats.column_names, ("frequency", column), place, "routing statistics, as `observe` writes them,")
    values, weights = (stats[name].to_numpy().astype(np.float64) for name in (column, "frequency"))
    usable = np.isfinite(values) & (weights > 0)
    if not usable.any():
        raise InputError(f"{place}: no row has a frequency and a {column}; observe more text")
    return Quantiles(setting, values[usable], weights[usable])


def _extra(name: str, structure: Mapping[str, Any]) -> Dimension:
    if name == "route_weights":
        return ROUTE_WEIGHTS
    if name == "fast_path_experts":
        return Dimension(name, "integer", 1, structure["top_k"])
    raise InputError(
        f"search space: {name!r} cannot be added by name; use fast_path_experts or route_weights"
    )


def _changed(space: Space, name: str, fields: Mapping[str, Any] | None) -> Space:
    if fields is None:
        return space.without(name)
    known: Sequence[Dimension] = [one for one in space.dimensions if one.name == name]
    own = {} if not known else {key: getattr(known[0], key) for key in Dimension.__dataclass_fields__}
    return space.with_dimensions(Dimension(**{**own, "name": name, **fields}))
