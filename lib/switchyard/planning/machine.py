"""What there is to run on: cores, host memory, cards, free disk. Whatever is not stated is found out."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from switchyard.errors import InputError
from switchyard.planning.footprint import GB, hub_cache
from switchyard.planning.throughput import READ_GB_PER_SECOND
from switchyard.runtime.placement import visible

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""Bytes that a container may use, or `max`."""


@dataclass(frozen=True)
class Machine:
    """Limits of a machine; `gpu_mem_gb` is that of one card.

    `free_gb` is of the disk that results go to, `cache_gb` of the hub's cache where that has a disk of its own.
    """

    cores: int
    mem_gb: float
    cards: int
    gpu_mem_gb: float
    free_gb: float
    read_gb_per_second: float = READ_GB_PER_SECOND
    cache_gb: float | None = None

    def slots(self, threads: int, mem_mb: int, gpu_mem_gb: int) -> int:
        """Jobs of one kind that run at the same time, at least 1."""
        found = [self.cores // min(threads, self.cores), int(1000 * self.mem_gb // max(1, mem_mb))]
        if self.cards and gpu_mem_gb:
            found.append(self.cards * int(self.gpu_mem_gb // gpu_mem_gb))
        return max(1, min(found))


def here(
    folder: Path,
    *,
    cores: int | None = None,
    mem_gb: float | None = None,
    gpu_mem_gb: float | None = None,
    cards: int | None = None,
    disk_gb: float | None = None,
    read_gb_per_second: float = READ_GB_PER_SECOND,
) -> Machine:
    """This machine, except for what is stated; `gpu_mem_gb` 0 stands for no card. `folder` is where results go.

    A stated disk holds the hub's cache too.

    Raises:
        InputError: more cards are stated than there are, without their memory.
    """
    found = _cards() if gpu_mem_gb is None else ([gpu_mem_gb] * (cards or 1) if gpu_mem_gb else [])
    if cards and cards > len(found):
        there = (
            "--gpu-mem-gb 0 says that there is none" if gpu_mem_gb == 0 else f"this machine has {len(found)}"
        )
        raise InputError(f"plan: --cards {cards}: {there}; say with --gpu-mem-gb how large they are")
    return Machine(
        cores=cores or _cores(),
        mem_gb=_mem_gb() if mem_gb is None else mem_gb,
        cards=len(found) if cards is None else min(cards, len(found)),
        gpu_mem_gb=min(found, default=0.0),
        free_gb=shutil.disk_usage(folder).free / GB if disk_gb is None else disk_gb,
        read_gb_per_second=read_gb_per_second,
        cache_gb=_cache_gb(folder) if disk_gb is None else None,
    )


def _cores() -> int:
    """Cores that this process may use; all of them where the system does not say, as on macOS."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _mem_gb() -> float:
    """Memory of the machine, or of the container if that is less."""
    whole = psutil.virtual_memory().total
    try:
        limit = int(CGROUP_LIMIT.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such file, or `max`
        limit = whole
    return min(whole, limit) / GB


def _cache_gb(folder: Path) -> float | None:
    """Free disk of the hub's cache; None where it lies on the folder's."""
    cache = hub_cache().absolute()
    there = next(path for path in (cache, *cache.parents) if path.exists())
    return None if there.stat().st_dev == folder.stat().st_dev else shutil.disk_usage(there).free / GB


def _cards() -> list[float]:
    """Memory in GB of each card that torch sees."""
    return [float(card.size_bytes // GB) for card in visible()]
