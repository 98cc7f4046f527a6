"""Which of the visible GPUs (cards) a process works on, so that those who share one never ask for more than it has.

A process leases room on a card for its life. A lease is a file in a folder that all processes of this user on this
machine share, named after the card's UUID, since its number depends on CUDA_VISIBLE_DEVICES; a slice of a card (MIG)
counts as a card. Its holder keeps the file locked, so that the kernel ends the lease with the process, however that
ended. A lease is a limit: torch allocates no more than it on the card.
"""

from __future__ import annotations

import logging
import os
import subprocess
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
"""This process's lease, if it has one; several of whole cards for a model that none holds alone."""


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
    _let_segments_grow()
    cards = visible()
    index = take(gb, cards)
    torch.cuda.set_device(index)
    torch.cuda.set_per_process_memory_fraction(share(_held[0].size_bytes, cards[index]), index)
    log.info("device cuda:%d: %s", index, hardware())
    return f"cuda:{index}"


def devices(gb: int | None) -> dict[str, int]:
    """The torch devices for a model that needs so much memory, each with the bytes that torch may allocate there.

    One card as `device` chooses it if any is large enough; otherwise the fewest whole cards that are together, each
    with its driver's `CONTEXT_BYTES`. `{"cpu": 0}` without a card.
    """
    import torch

    if gb is None or not torch.cuda.is_available() or any(card.size_bytes >= gb * GB for card in visible()):
        where = device(gb)
        return {where: 0 if where == "cpu" else _held[0].size_bytes}
    _let_segments_grow()
    cards = visible()
    indices = take_several(gb, cards)
    torch.cuda.set_device(indices[0])
    for index in indices:
        torch.cuda.set_per_process_memory_fraction(1.0, index)
    log.info("devices %s: %d x %s", ", ".join(map(str, indices)), len(indices), hardware())
    return {f"cuda:{index}": cards[index].size_bytes - CONTEXT_BYTES for index in indices}


def _let_segments_grow() -> None:
    """Set torch's allocator unless the user did; it is read before the first allocation."""
    if not any(name in os.environ for name in ALLOCATOR):
        os.environ[ALLOCATOR[0]] = "expandable_segments:True"


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


def clocks() -> list[dict[str, str]] | None:
    """Clocks of all cards as nvidia-smi reports them, with their limits and temperatures; None without a card."""
    import torch

    if not torch.cuda.is_available():
        return None
    names = (
        "uuid",
        "clocks.sm",
        "clocks.max.sm",
        "clocks.mem",
        "temperature.gpu",
        "power.draw",
        "power.limit",
    )
    command = ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError) as error:
        return [{"unknown": f"nvidia-smi: {error}"}]
    return [dict(zip(names, (value.strip() for value in line.split(",")))) for line in lines]


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
    if len(_held) == 1 and _held[0].size_bytes >= needed[_held[0].index]:
        return _held[0].index
    release()
    if not _lease(needed, cards):
        log.info("waiting for %s on a card", "all memory" if gb is None else f"{gb} GB")
        while not _lease(needed, cards):
            time.sleep(POLL_S)
    return _held[0].index


def take_several(gb: int, cards: Sequence[Card]) -> list[int]:
    """Lease the fewest whole cards that have `gb` together, and return their places; waits until so many are free.

    They are leased at once or not at all, so that two processes never wait for each other's.

    Raises:
        InputError: all of them have not that much.
    """
    number = _fewest(gb, cards)
    if len(_held) == number and all(lease.size_bytes == cards[lease.index].size_bytes for lease in _held):
        return [lease.index for lease in _held]
    release()
    if not _lease_whole(number, gb, cards):
        log.info("waiting for %d whole cards", number)
        while not _lease_whole(number, gb, cards):
            time.sleep(POLL_S)
    return [lease.index for lease in _held]


def _fewest(gb: int, cards: Sequence[Card]) -> int:
    sizes = sorted((card.size_bytes for card in cards), reverse=True)
    for number in range(1, len(sizes) + 1):
        if sum(sizes[:number]) >= gb * GB:
            return number
    raise InputError(
        f"model: needs {gb} GB, the {len(cards)} cards have {sum(sizes) // GB} together; lower batch_tokens, choose "
        "dtype bfloat16 or `quantise` the model's experts; --set-resources RULE:gpu_mem_gb=N says otherwise"
    )


def _lease_whole(number: int, gb: int, cards: Sequence[Card]) -> bool:
    """Hold `number` cards that nobody else leases, the largest first, if there are so many and they have `gb`."""
    folder = _folder()
    with FileLock(folder / "lock"):
        leased = _leased(folder)
        free = [index for index, card in enumerate(cards) if not leased[card.uuid]]
        free = sorted(free, key=lambda index: -cards[index].size_bytes)[:number]
        if len(free) < number or sum(cards[index].size_bytes for index in free) < gb * GB:
            return False
        _held.extend(_lock(folder, index, cards[index].uuid, cards[index].size_bytes) for index in free)
    return True


def release() -> None:
    """Give up this process's leases, if it has any."""
    while _held:
        _held.pop().lock.release()


def _lease(needed: Sequence[int], cards: Sequence[Card]) -> bool:
    """Hold a lease on the card with most room, if any has as many bytes as `needed` there."""
    folder = _folder()
    with FileLock(folder / "lock"):
        leased = _leased(folder)
        room = [card.size_bytes - leased[card.uuid] for card in cards]
        fitting = [index for index, size in enumerate(needed) if size <= room[index]]
        if not fitting:
            return False
        best = max(fitting, key=room.__getitem__)
        _held.append(_lock(folder, best, cards[best].uuid, needed[best]))
    return True


def _folder() -> Path:
    """Where the leases of this user's processes are."""
    folder = Path(tempfile.gettempdir()) / f"switchyard-cards-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _lock(folder: Path, index: int, uuid: str, size_bytes: int) -> Lease:
    """A lease, held from now on."""
    lock = FileLock(folder / f"{uuid}.{size_bytes}.{os.getpid()}.lease", thread_local=False)
    lock.acquire()
    return Lease(index, size_bytes, lock)


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
