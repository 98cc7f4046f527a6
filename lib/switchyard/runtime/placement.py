"""Which of the visible GPUs (cards) a process works on, so that those who share one never ask for more than it has.

A process leases room on a card for its life. A lease is a file in a folder that all processes of this user on this
machine share, named after the card's UUID, since its number depends on CUDA_VISIBLE_DEVICES; a slice of a card (MIG)
counts as a card. Its holder keeps the file locked, so that the kernel ends the lease with the process, however that
ended. A lease is a limit: torch allocates no more than it on the card.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from switchyard.errors import InputError

GB = 10**9

DRIVER = Path("/proc/driver/nvidia/gpus")
"""Folder in which NVIDIA's driver lists its cards."""

CONTEXT_BYTES = GB
"""What a driver and its libraries take of a lease before the first weight: 0.5 to 1 GB by card and version
(`planning.footprint.CONTEXT_GB`)."""

ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""Environment variables with the settings of torch's allocator, the second by its older name."""

POLL_S = 1.0
"""Between two looks at the others' leases, while there is no room."""

log = logging.getLogger(__name__)


class Card(NamedTuple):
    """A GPU or a slice of one, whatever its number here."""

    uuid: str
    """Of a slice its own, not that of the card it is cut from."""
    size_bytes: int


class Lease(NamedTuple):
    """Room on the card at `index`, for as long as `lock` is held."""

    index: int
    size_bytes: int
    lock: FileLock


_held: list[Lease] = []
"""This process's lease, if it has one."""


def device(gb: int | None) -> str:
    """The torch device for work that needs so much memory: a card, from now on the current one, or `cpu` without any.

    On a card torch may allocate what the lease holds beside the driver's `CONTEXT_BYTES`, and no more, so that a job
    whose estimate was too low ends itself and not its neighbour.

    Args:
        gb: memory in GB, what a job's `gpu_mem_gb` says; None for a whole card, on which no other process works; 0
            where nothing is known, which is no limit.

    Raises:
        InputError: no card is that large, or there are cards that torch cannot use.
    """
    import torch

    if not torch.cuda.is_available():
        if fault := unusable():
            raise InputError(fault)
        return "cpu"
    if not any(name in os.environ for name in ALLOCATOR):  # read by torch before its first allocation
        os.environ[ALLOCATOR[0]] = "expandable_segments:True"
    cards = visible()
    index = take(gb, cards)
    torch.cuda.set_device(index)
    torch.cuda.set_per_process_memory_fraction(share(_held[0].size_bytes, cards[index]), index)
    log.info("device cuda:%d: %s", index, hardware())
    return f"cuda:{index}"


def share(leased_bytes: int, card: Card) -> float:
    """Share, 0..1, of a card's memory that torch may allocate under a lease.

    1 where all of it is leased or nothing is known.
    """
    if leased_bytes in (0, card.size_bytes):
        return 1.0
    return max(leased_bytes - CONTEXT_BYTES, CONTEXT_BYTES // 2) / card.size_bytes


def unusable() -> str | None:
    """Why a GPU that the driver lists cannot be used by torch, with the remedy; None where there is none to use.

    `CUDA_VISIBLE_DEVICES=` (empty) or -1 asks for the CPU.
    """
    import torch

    cards = len(list(DRIVER.glob("*")))
    if not cards or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return None
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU only"
    return (
        f"the driver lists {cards} GPUs, but torch {torch.__version__}, built for {build}, cannot use them; install "
        "the torch of the lock and a driver for it, or set CUDA_VISIBLE_DEVICES to -1 to work on the CPU"
    )


def hardware() -> str:
    """What this process computes on, for logs and stamps: `cpu`, or its current card and the CUDA version."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"


def visible() -> list[Card]:
    """The cards that CUDA_VISIBLE_DEVICES leaves to this process, in its order.

    A slice has the name that stands there, since CUDA may give all slices of a card the card's UUID.
    """
    import torch

    found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    slices = {index: name.strip() for index, name in enumerate(named) if name.strip().startswith("MIG-")}
    uuids = [slices.get(index, str(card.uuid)) for index, card in enumerate(found)]
    return [Card(uuid.replace("/", "_"), card.total_memory) for uuid, card in zip(uuids, found)]


def take(gb: int | None, cards: Sequence[Card]) -> int:
    """Lease room on the card that has most of it, and return its place in `cards`; waits until one has enough.

    Room is a card's memory without the leases of living processes. A process has one lease: it stays if it is large
    enough, and is given up for a larger one.

    Args:
        gb: as in `device`.
        cards: those that this process sees, the same at every call.

    Raises:
        InputError: no card is that large.
    """
    needed = [card.size_bytes if gb is None else gb * GB for card in cards]
    if all(size > card.size_bytes for size, card in zip(needed, cards)):
        raise InputError(
            f"model: needs {gb} GB, the largest card has {max(card.size_bytes for card in cards) // GB}; "
            "lower batch_tokens or choose dtype bfloat16; --set-resources RULE:gpu_mem_gb=N says otherwise"
        )
    if _held and _held[0].size_bytes >= needed[_held[0].index]:
        return _held[0].index
    release()
    if not _lease(needed, cards):
        log.info("waiting for %s on a card", "all memory" if gb is None else f"{gb} GB")
        while not _lease(needed, cards):
            time.sleep(POLL_S)
    return _held[0].index


def release() -> None:
    """Give up this process's lease, if it has one."""
    while _held:
        _held.pop().lock.release()


def _lease(needed: Sequence[int], cards: Sequence[Card]) -> bool:
    """Hold a lease on the card with most room, if any has as many bytes as `needed` there."""
    folder = Path(tempfile.gettempdir()) / f"switchyard-cards-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with FileLock(folder / "lock"):
        leased = _leased(folder)
        room = [card.size_bytes - leased[card.uuid] for card in cards]
        fitting = [index for index, size in enumerate(needed) if size <= room[index]]
        if not fitting:
            return False
        best = max(fitting, key=room.__getitem__)
        name = f"{cards[best].uuid}.{needed[best]}.{os.getpid()}.lease"
        lock = FileLock(folder / name, thread_local=False)
        lock.acquire()
    _held.append(Lease(best, needed[best], lock))
    return True


def _leased(folder: Path) -> Counter[str]:
    """Leased bytes by card; removes the files of leases that have ended."""
    leased: Counter[str] = Counter()
    for path in folder.glob("*.lease"):
        try:
            with FileLock(path, blocking=False):
                path.unlink()
        except Timeout:
            uuid, size, *_ = path.name.split(".")
            leased[uuid] += int(size)
    return leased
