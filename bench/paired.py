"""Times side by side in one process: what every benchmark here reports is a ratio of two interleaved calls."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch

ROUNDS = 9
"""Interleaved rounds that are counted, each call once in each."""


class Line(NamedTuple):
    """One row of the table of targets."""

    what: str
    against: str
    ratios: Sequence[float]
    """One per round."""
    target: str
    """`<= 1.10`, or `>= 5`; empty for a figure without one."""

    @property
    def ratio(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the target; None where there is none."""
        if not self.target:
            return None
        sign, bound = self.target.split()
        return self.ratio <= float(bound) if sign == "<=" else self.ratio >= float(bound)

    def told(self) -> str:
        """The row in Markdown: median, smallest to largest of the rounds, target."""
        spread = f"{min(self.ratios):.2f} to {max(self.ratios):.2f}"
        verdict = {None: "", True: "met", False: "**missed**"}[self.met]
        return f"| {self.what} | {self.against} | {self.ratio:.2f} | {spread} | {self.target} | {verdict} |"


HEADER = "| what | against | median ratio | range | target | |\n|---|---|---|---|---|---|"


def seconds(
    calls: Mapping[str, Callable[[], object]],
    *,
    rounds: int = ROUNDS,
    repeats: int = 1,
    device: str = "cpu",
) -> dict[str, list[float]]:
    """Wall seconds of each call in each round.

    The calls take turns within a round, in an order that is rotated from round to round, after one round that is
    not counted. `repeats` calls are timed as one where a single one is too short.
    """
    found: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for number in range(rounds + 1):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            took = _time(calls[name], repeats, device)
            if number:
                found[name].append(took)
    return found


def ratios(times: Mapping[str, list[float]], what: str, against: str) -> list[float]:
    """Time of `what` over the time of `against`, round by round."""
    return [one / other for one, other in zip(times[what], times[against], strict=True)]


def _time(call: Callable[[], object], repeats: int, device: str) -> float:
    _wait(device)
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: str) -> None:
    if device != "cpu":
        torch.accelerator.synchronize()
