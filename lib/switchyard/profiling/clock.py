"""Exclusive times of nested parts of a forward: the host's clock on a CPU, CUDA events on a GPU.

A CPU works an operator off before the next one starts, so that the host's clock needs no wait. On a GPU events stand in
the stream, and a single wait at the end reads them all.
"""

from __future__ import annotations

import time
from typing import Protocol

import torch


class Sink(Protocol):
    """What instruments report to."""

    def enter(self, name: str) -> None:
        """A part begins, inside the one that is open."""

    def leave(self) -> None:
        """The innermost part ends."""

    def rename(self, name: str) -> None:
        """What follows in the innermost part has another name."""

    @property
    def depth(self) -> int:
        """Parts that are open."""


class Clock:
    """Milliseconds of each part without the parts inside it."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._is_cuda = torch.device(device).type == "cuda"
        self._open: list[str] = []
        self._marks: list[tuple[float | torch.cuda.Event, str | None]] = []

    @property
    def depth(self) -> int:
        """Parts that are open."""
        return len(self._open)

    def enter(self, name: str) -> None:
        """A part begins."""
        self._open.append(name)
        self._mark(name)

    def leave(self) -> None:
        """The innermost part ends."""
        self._open.pop()
        self._mark(self._open[-1] if self._open else None)

    def rename(self, name: str) -> None:
        """The innermost part goes on under another name."""
        self._open[-1] = name
        self._mark(name)

    def take(self) -> dict[str, float]:
        """Milliseconds by name since the last call."""
        if self._is_cuda:
            torch.cuda.synchronize()
        found: dict[str, float] = {}
        marks, self._marks = self._marks, []
        for (start, name), (end, _) in zip(marks, marks[1:]):
            if name is not None:
                spent = start.elapsed_time(end) if self._is_cuda else 1000 * (end - start)
                found[name] = found.get(name, 0.0) + spent
        return found

    def _mark(self, name: str | None) -> None:
        if not self._is_cuda:
            self._marks.append((time.perf_counter(), name))
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._marks.append((event, name))


class Ranges:
    """Parts as ranges of torch.profiler, and of NVTX where a profiler of the card emits them."""

    def __init__(self) -> None:
        self._open: list[torch.profiler.record_function] = []

    @property
    def depth(self) -> int:
        """Parts that are open."""
        return len(self._open)

    def enter(self, name: str) -> None:
        """A range begins."""
        self._open.append(torch.profiler.record_function(name))
        self._open[-1].__enter__()

    def leave(self) -> None:
        """The innermost range ends."""
        self._open.pop().__exit__(None, None, None)

    def rename(self, name: str) -> None:
        """The innermost range ends and another one begins in its place."""
        self.leave()
        self.enter(name)
