"""What there is to run on: cores, host memory, cards, free disk. Whatever is not stated is found out."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from switchyard.systems.footprint import GB
from switchyard.systems.throughput import READ_GB_PER_SECOND


@dataclass(frozen=True)
class Machine:
    """Limits of a machine; `gpu_mem_gb` is that of one card."""

    cores: int
    mem_gb: float
    cards: int
    gpu_mem_gb: float
    free_gb: float
    read_gb_per_second: float = READ_GB_PER_SECOND

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
    """This machine, except for what is stated; `gpu_mem_gb` 0 stands for no card. `folder` is where results go."""
    found = _cards() if gpu_mem_gb is None else ([gpu_mem_gb] * (cards or 1) if gpu_mem_gb else [])
    return Machine(
        cores=cores or len(psutil.Process().cpu_affinity()),
        mem_gb=psutil.virtual_memory().total / GB if mem_gb is None else mem_gb,
        cards=len(found) if cards is None else min(cards, len(found)),
        gpu_mem_gb=min(found, default=0.0),
        free_gb=shutil.disk_usage(folder).free / GB if disk_gb is None else disk_gb,
        read_gb_per_second=read_gb_per_second,
    )


def _cards() -> list[float]:
    """Memory in GB of each card that torch sees."""
    import torch

    if not torch.cuda.is_available():
        return []
    return [
        math.floor(torch.cuda.get_device_properties(number).total_memory / GB)
        for number in range(torch.cuda.device_count())
    ]
