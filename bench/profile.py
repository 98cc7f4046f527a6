"""The instruments of the profile at 2,048 wide: what they cost, what part of the time has a name, and the fitted model.

The untouched model, its own top-k attached, BH at a mean of four experts, and VAR whose look-ups find nothing. Shares
and errors are lines, too: the ratio is the share itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bench.attached import calibrate, rule_of_mean, wide, workloads
from bench.paired import Line
from bench.var import never_sure
from switchyard.models.blocks import describe
from switchyard.profiling.ceilings import measure_ceilings
from switchyard.profiling.components import measure_components
from switchyard.profiling.names import HELD_OUT
from switchyard.profiling.performance_model import fit, predicted
from switchyard.profiling.points import PHASES, decode, prefill
from switchyard.profiling.scaling import grid, measure_scaling
from switchyard.routing import TopK

REPEATS = 3
LENGTHS, BATCHES, CACHES = (16, 64, 256), (1, 2, 4), (16, 64, 256)


def lines(device: str) -> Iterator[Line]:
    """One thread on a CPU, as an experiment has."""
    torch.set_num_threads(1)
    size = wide(device)
    nulls = calibrate(size.model, size.ids)
    rules = {
        "top-k attached": TopK(size.model.config.num_experts_per_tok),
        "BH": rule_of_mean(size.model, nulls, workloads(size)["forward"]),
        "VAR": never_sure(size.model, size),
    }
    ids = size.ids.flatten().tolist()
    points = [prefill(1, 256), decode(1, 64)]
    found = [measure_components(size.model, rules, points, ids, rounds=7).instruments for _ in range(REPEATS)]
    for rows in zip(*found, strict=True):
        what = f"{rows[0]['rule']} ({size.name}), {rows[0]['phase']}"
        ratios = [row["instrumented_over_plain"] for row in rows]
        yield Line(f"{what}, with instruments", "without", ratios, "<= 1.05")
        yield Line(
            f"{what}, parts with a name", "the forward", [row["named_share"] for row in rows], ">= 0.95"
        )
    yield from _errors(size.name, size.model, rules, ids)


def _errors(name: str, model: torch.nn.Module, rules: dict, ids: list[int]) -> Iterator[Line]:
    """Absolute relative errors of the fitted model on held-out points; their mean over the limit of 15 %."""
    points = grid(LENGTHS, BATCHES, CACHES, positions=4096, most_tokens=512)
    rows = measure_scaling(model, rules, points, ids, rounds=6)
    dtype = next(model.parameters()).dtype
    ceilings = measure_ceilings(model.device, dtype)._asdict()
    fitted = fit(rows, describe(model.config), weight_bytes=dtype.itemsize, ceilings=ceilings)
    rows_predicted = predicted(rows, fitted)
    for phase in PHASES:
        off = [
            abs(row["error"]) for row in rows_predicted if (row["phase"], row["role"]) == (phase, HELD_OUT)
        ]
        yield Line(f"held-out error of the performance model ({name}), {phase}", "measured", off, "<= 0.15")
