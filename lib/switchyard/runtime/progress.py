"""Progress inside a long job: a live bar on a terminal, otherwise a full line now and then."""

from __future__ import annotations

import sys
import time
from typing import Self, TextIO

from tqdm import tqdm

LINE_SECONDS = 10.0
"""Between two lines where output is no terminal: often enough to see life, seldom enough for a log."""


class Lines:
    """What a bar is where nothing can be overwritten: `name: 40 % (4 of 10 samples, 00:12 gone, 00:18 left)`."""

    def __init__(self, total: int | None, description: str, *, unit: str, stream: TextIO) -> None:
        self.total, self.description, self.unit, self.stream = total, description, unit, stream
        self.done = 0
        self.started = self.printed = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def update(self, n: int = 1) -> None:
        """Count `n` more units; print a line if the last one is old or this is the end."""
        self.done += n
        if (
            self.total is not None
            and self.done >= self.total > self.done - n
            or time.monotonic() - self.printed >= LINE_SECONDS
        ):
            self._print()

    def close(self) -> None:
        """Nothing is held open; here because a bar has it."""

    def _print(self) -> None:
        self.printed = time.monotonic()
        gone = self.printed - self.started
        if self.total is None:
            self._write(f"{self.done} {self.unit}, {tqdm.format_interval(gone)} gone")
            return
        left = gone * (self.total - self.done) / self.done if self.done else 0.0
        share = 100 * self.done // max(self.total, 1)
        times = f"{tqdm.format_interval(gone)} gone, {tqdm.format_interval(left)} left"
        self._write(f"{share} % ({self.done} of {self.total} {self.unit}, {times})")

    def _write(self, text: str) -> None:
        self.stream.write(f"{self.description}: {text}\n")
        self.stream.flush()


def bar(
    total: int | None, description: str, *, unit: str = "steps", stream: TextIO | None = None
) -> tqdm | Lines:
    """A progress bar over `total` units, None where nobody knows; use it in `with` and call `.update(n)`.

    `description` names the job, since several jobs print at once. It goes to the process's own stderr, also where
    `sys.stderr` was redirected to a log.
    """
    stream = stream or sys.__stderr__
    if stream.isatty():
        unit = f" {unit}"
        return tqdm(
            total=total, desc=description, unit=unit, file=stream, dynamic_ncols=True, mininterval=0.5
        )
    return Lines(total, description, unit=unit, stream=stream)
