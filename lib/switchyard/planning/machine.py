"""What there is to run on: cores, host memory, cards, free disk; what is not stated is found out."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from switchyard.errors import InputError
from switchyard.planning.footprint import GB
from switchyard.runtime.placement import visible

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""Bytes that a container may use, or `max`."""


@dataclass(frozen=True)
class Machine:
    """Limits of a machine; `gpu_mem_gb` is that of one card, `free_gb` that of the disk that results go to."""

    cores: int
    mem_gb: float
    cards: int
    gpu_mem_gb: float
    free_gb: float


def here(
    folder: Path,
    *,
    cores: int | None = None,
    mem_gb: float | None = None,
    gpu_mem_gb: float | None = None,
    cards: int | None = None,
    disk_gb: float | None = None,
) -> Machine:
    """This machine, except for what is stated; `gpu_mem_gb` 0 stands for no card. `folder` is where results go.

    Raises:
        InputError: more cards are stated than there are, without their memory.
    """
    if gpu_mem_gb is None:
        found = [float(card.size_bytes // GB) for card in visible()]
    else:
        found = [gpu_mem_gb] * (cards or 1) * (gpu_mem_gb > 0)
    if cards and cards > len(found):
        raise InputError(
            f"plan: --cards {cards}: this machine has {len(found)}; give --gpu-mem-gb, the memory of each"
        )
    return Machine(
        cores=cores or len(getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)),
        mem_gb=mem_gb or _mem_gb(),
        cards=cards or len(found),
        gpu_mem_gb=min(found, default=0.0),
        free_gb=shutil.disk_usage(folder).free / GB if disk_gb is None else disk_gb,
    )


def _mem_gb() -> float:
    """Memory of the machine, or of the container if that is less."""
    whole = psutil.virtual_memory().total
    try:
        limit = int(CGROUP_LIMIT.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such file, or `max`
        limit = whole
    return min(whole, limit) / GB
