"""Latencies of single forwards, of all rules in each round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
from torch import nn

from switchyard.profiling.points import Point
from switchyard.profiling.subjects import subjects
from switchyard.profiling.workloads import Workload, interleaved, timed_ms


def measure_latencies(
    model: nn.Module,
    rules: Mapping[str, Any],
    points: Sequence[Point],
    token_ids: Sequence[int],
    *,
    samples: int,
) -> pd.DataFrame:
    """Columns `rule, phase, batch, length, cache_length, sample, latency_ms`; a sample is a round of all rules."""
    rows = []
    with subjects(model, rules) as compared:
        for point in points:
            runs = {one.name: Workload(one.model, point, token_ids) for one in compared}
            times = interleaved({name: partial(timed_ms, run) for name, run in runs.items()}, samples)
            sizes = {"phase": point.phase, "batch": point.batch, "length": point.length}
            sizes["cache_length"] = point.cache_length
            for name, spent in times.items():
                rows += [
                    {"rule": name, **sizes, "sample": sample, "latency_ms": one}
                    for sample, one in enumerate(spent)
                ]
    return pd.DataFrame(rows)
