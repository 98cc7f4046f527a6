"""Scales and axes: logarithmic where ranges demand it, never cut where a length is compared."""

from __future__ import annotations

import math
from collections.abc import Iterable

import altair as alt

MARGIN = 0.06
"""Free share of the axis on either side of the outermost points."""


def log_scale(values: Iterable[float]) -> alt.Scale:
    """A logarithmic scale just around the values (positive); one value gets a decade's tenth on either side."""
    low, high = _range(values)
    span = max(math.log(high / low), 0.05)
    return alt.Scale(
        type="log", domain=[low * math.exp(-MARGIN * span), high * math.exp(MARGIN * span)], nice=False
    )


def experts_scale(values: Iterable[float], *, highest: int) -> alt.Scale:
    """Base-2 logarithmic scale for experts per token from the smallest value (or 1) to `highest`.

    Where a configuration may choose no expert at all (a mean of 0), the scale is linear.
    """
    low, high = _range(values)
    if low <= 0:
        return alt.Scale(domain=[0, max(high, highest)], nice=False)
    return alt.Scale(type="log", base=2, domain=[min(low, 1) / 1.12, max(high, highest) * 1.12], nice=False)


def experts_axis(*, highest: int, title: str | None, step: int = 1, **options: object) -> alt.Axis:
    """Axis with the powers of two up to `highest` experts, every `step`-th of them."""
    ticks = [2**power for power in range(0, int(math.log2(max(highest, 1))) + 1, step)]
    return alt.Axis(title=title, values=ticks, format="d", **options)


def number_axis(title: str | None, *, ticks: int = 5, **options: object) -> alt.Axis:
    """Axis of plain decimal numbers with four significant digits at most."""
    return alt.Axis(title=title, format=",.4~r", tickCount=ticks, **options)


def share_scale() -> alt.Scale:
    """A share, from 0 to 1, whole."""
    return alt.Scale(domain=[0, 1], nice=False)


def _range(values: Iterable[float]) -> tuple[float, float]:
    kept = [float(value) for value in values if value is not None and math.isfinite(value)]
    return (min(kept), max(kept)) if kept else (1.0, 1.0)
