"""Memory of an observation at each of its checkpoints: whether it grows with the tokens (it must not)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psutil
import torch

from switchyard.observation.shards import Observation

LIMIT = 1.1
"""Largest over smallest host memory after the first checkpoint, which the roadmap allows."""


def sample(seen: Observation, device: torch.device) -> dict[str, Any]:
    """`tokens` counted so far, `host_bytes` of this process, `device_bytes` (None on a CPU), `counts_bytes`."""
    return {
        "tokens": seen.totals["tokens"],
        "host_bytes": psutil.Process().memory_info().rss,
        "device_bytes": torch.cuda.memory_allocated(device) if device.type == "cuda" else None,
        "counts_bytes": counts_bytes(seen),
    }


def counts_bytes(seen: Observation) -> int:
    """Bytes of all arrays that hold counts."""
    parts = [seen.statistics.state(), seen.ngrams.state(), *(one.arrays() for one in seen.counters.values())]
    return sum(array.nbytes for part in parts for array in part.values())


def memory_profile(shards: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """`shards`, each with its `samples` and `growth`, and the largest `growth` beside its `limit`.

    Growth is the largest host memory over the smallest, from the second sample on, since the first forward allocates
    what all later ones use again; None for fewer than two such samples. A shard that went on after a kill has the
    samples of the process that finished it.
    """
    found = [{**one, "growth": _growth(one["samples"])} for one in shards]
    known = [one["growth"] for one in found if one["growth"] is not None]
    most = max(known, default=None)
    return {
        "growth": most,
        "limit": LIMIT,
        "within_limit": None if most is None else most <= LIMIT,
        "shards": found,
    }


def _growth(samples: Sequence[Mapping[str, Any]]) -> float | None:
    held = [one["host_bytes"] for one in samples[1:]]
    return max(held) / min(held) if len(held) > 1 else None
