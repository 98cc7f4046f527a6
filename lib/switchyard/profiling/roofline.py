"""What a forward attains of the machine's ceilings (Williams, Waterman and Patterson, 2009), and its bytes per token.

S-MBU is that of MoE-CAP (arXiv 2412.07067): the bytes of the weights that a forward touches, sparse as the routing is,
and of its cache, over its time, as a share of the measured bandwidth. S-MFU is defined likewise: the operations of the
matrix products that a forward runs over its time, as a share of the measured peak. `attained_share` compares the time
that the roofline allows at least, max(operations / peak, bytes / bandwidth), with the time that it took. A share above
1 means that weights stayed in a cache that is faster than the memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from switchyard.profiling.counts import Routing, forward_counts
from switchyard.profiling.points import Point

WATERFALL = ("experts", "projections", "router", "dense", "head", "embedding", "cache")
"""Components of the bytes per token, in the order of the figure."""


def roofline(
    rows: Iterable[Mapping[str, Any]],
    structure: Mapping[str, Any],
    ceilings: Mapping[str, float],
    *,
    weight_bytes: int,
) -> list[dict[str, Any]]:
    """A row for each row of the scaling measurement, from the experts that it was seen to use."""
    return [_attained(row, structure, ceilings, weight_bytes) for row in rows]


def _attained(
    row: Mapping[str, Any], structure: Mapping[str, Any], ceilings: Mapping[str, float], weight_bytes: int
) -> dict[str, Any]:
    point = Point(row["phase"], row["batch"], row["length"], row["cache_length"])
    routing = Routing(row["experts"], row["distinct"], row["learned_share"])
    counted = forward_counts(structure, point, routing, weight_bytes=weight_bytes)
    seconds = row["median_ms"] / 1000
    by_operations = counted.total_flops / 1e9 / ceilings["gflops"]
    by_bytes = counted.total_bytes / 1e9 / ceilings["gbytes"]
    intensity = counted.total_flops / counted.total_bytes
    return {
        **{name: row[name] for name in ("rule", "phase", "batch", "length", "cache_length")},
        "median_ms": row["median_ms"],
        "flops": counted.total_flops,
        "bytes": counted.total_bytes,
        "intensity": intensity,
        "gflops": counted.total_flops / seconds / 1e9,
        "gbytes": counted.total_bytes / seconds / 1e9,
        "roof_gflops": min(ceilings["gflops"], intensity * ceilings["gbytes"]),
        "attained_share": max(by_operations, by_bytes) / seconds,
        "bound": "operations" if by_operations > by_bytes else "bytes",
        "s_mbu": counted.moved / seconds / 1e9 / ceilings["gbytes"],
        "s_mfu": counted.total_flops / seconds / 1e9 / ceilings["gflops"],
        **{f"bytes_{name}": counted.bytes.get(name, 0.0) / point.tokens for name in WATERFALL},
    }
