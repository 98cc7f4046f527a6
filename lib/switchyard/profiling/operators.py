"""A few forwards under torch.profiler: what the experts' time is made of, the top operators, idle and launch time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from switchyard.profiling.clock import Ranges
from switchyard.profiling.instruments import instrument
from switchyard.profiling.names import COMBINE, EXPERTS, GATHER, PRODUCTS
from switchyard.profiling.subjects import Subject
from switchyard.profiling.workloads import Workload, wait

COLUMNS = ["rule", "phase", "operator", "calls", "self_ms", "share", "memory_bytes"]

_PRODUCT = re.compile(r"(^|::|_)(grouped_|add|b)?mm(_fallback)?$|::(linear|matmul)$")
"""Names of operators that multiply matrices."""


def profiled(subject: Subject, workload: Workload, *, forwards: int = 3) -> profile:
    """Some forwards under the profiler, with ranges by the names of `switchyard.profiling.instruments`."""
    activities = [ProfilerActivity.CPU]
    if subject.model.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with instrument(subject.model, Ranges()):
        workload()
        workload.reset()
        wait(subject.model)
        with profile(activities=activities, profile_memory=True, acc_events=True) as found:
            for _ in range(forwards):
                workload()
                workload.reset()
            wait(subject.model)
    return found


def expert_shares(events: Iterable[FunctionEvent]) -> dict[str, float]:
    """Shares of the experts' time: before the first matrix product, up to the last one, after it; {} without any.

    Time is that of the device where kernels ran on one, else of the host. Implementations that gather between their
    products have that counted as products.
    """
    spent = dict.fromkeys((GATHER, PRODUCTS, COMBINE), 0.0)
    ranges = [event for event in events if event.name == EXPERTS]
    on_device = any(event.device_time_total for event in ranges)
    for one in ranges:
        inner = [(_time(child, on_device), _multiplies(child)) for child in one.cpu_children]
        places = [place for place, (_, multiplies) in enumerate(inner) if multiplies]
        if not places:
            continue
        for place, (took, _) in enumerate(inner):
            step = GATHER if place < places[0] else COMBINE if place > places[-1] else PRODUCTS
            spent[step] += took
    whole = sum(spent.values())
    return {step: took / whole for step, took in spent.items()} if whole else {}


def operator_rows(found: profile, rule: str, phase: str, *, most: int) -> list[dict[str, Any]]:
    """The operators that take most time of their own, with the bytes that they allocated in sum; columns COLUMNS."""
    events = [event for event in found.key_averages() if "::" in event.key]
    on_device = any(event.self_device_time_total for event in events)
    spent = {event.key: _self_time(event, on_device) for event in events}
    whole = sum(spent.values()) or 1.0
    rows = [
        {
            "rule": rule,
            "phase": phase,
            "operator": event.key,
            "calls": event.count,
            "self_ms": spent[event.key] / 1000,
            "share": spent[event.key] / whole,
            "memory_bytes": event.self_device_memory_usage if on_device else event.self_cpu_memory_usage,
        }
        for event in events
    ]
    return sorted(rows, key=lambda row: -row["self_ms"])[:most]


def device_use(
    spans: Iterable[tuple[float, float]], launches: Iterable[float], wall: float
) -> dict[str, float]:
    """`idle_share` of a card and `launch_share` of the host, of `wall` microseconds.

    Args:
        spans: begin and end of each kernel, in microseconds; kernels that overlap count once.
        launches: microseconds of each launch.
    """
    busy, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        busy += max(stop - max(start, end), 0.0)
        end = max(end, stop)
    return {"idle_share": 1.0 - busy / wall, "launch_share": sum(launches) / wall}


def device_use_of(found: profile) -> dict[str, float] | None:
    """`device_use` of a profile; None where no kernel ran on a card."""
    events = list(found.events())
    kernels = [event for event in events if str(event.device_type).endswith("CUDA")]
    if not kernels:
        return None
    on_host = [event for event in events if not str(event.device_type).endswith("CUDA")]
    launches = [event for event in on_host if event.name in ("cudaLaunchKernel", "cuLaunchKernel")]
    wall = max(one.time_range.end for one in events) - min(one.time_range.start for one in events)
    spans = [(one.time_range.start, one.time_range.end) for one in kernels]
    return device_use(spans, [one.time_range.elapsed_us() for one in launches], wall)


def write_trace(found: profile, folder: Path, name: str) -> Path:
    """The profile as a Chrome trace that TensorBoard's profiler plug-in finds, too: `folder/name.pt.trace.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.pt.trace.json"
    found.export_chrome_trace(str(path))
    return path


def _multiplies(event: FunctionEvent) -> bool:
    return bool(_PRODUCT.search(event.name)) or any(map(_multiplies, event.cpu_children))


def _time(event: FunctionEvent, on_device: bool) -> float:
    return event.device_time_total if on_device else event.cpu_time_total


def _self_time(event: Any, on_device: bool) -> float:
    return event.self_device_time_total if on_device else event.self_cpu_time_total
