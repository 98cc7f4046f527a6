"""Scales and axes: logarithmic where ranges demand it, never cut where a length is compared."""

from __future__ import annotations

import math
from collections.abc import Iterable

import altair as alt

MARGIN = 0.06
"""Free share of the axis on either side of the outermost points."""
AROUND = alt.Scale(zero=False, nice=False, padding=12)
"""A scale just around the values, 12 pixels free on either side."""
LOG = alt.Scale(type="log", nice=False, padding=12)
"""The same, logarithmic."""
SHARES = alt.Scale(domain=[0, 1], nice=False)


def x(field: str, title: str | None, scale: alt.Scale = AROUND, **axis: object) -> alt.X:
    """A horizontal axis with about five ticks; `axis` is more of it, as Vega-Lite names it."""
    return alt.X(field, scale=scale, axis=alt.Axis(**{"title": title, "tickCount": 5, "grid": True, **axis}))


def y(field: str, title: str | None, scale: alt.Scale = AROUND, **axis: object) -> alt.Y:
    """A vertical axis, as `x`."""
    return alt.Y(field, scale=scale, axis=alt.Axis(**{"title": title, "tickCount": 5, "grid": True, **axis}))


def words(field: str, order: list[str], title: str | None = None, **axis: object) -> dict[str, object]:
    """What `alt.X` or `alt.Y` takes for a text field: all values in an order, without grid."""
    plain = {"title": title, "grid": False, "labelOverlap": False, "labelAngle": 0}
    return {"shorthand": f"{field}:N", "sort": list(order), "axis": alt.Axis(**{**plain, **axis})}


def log_scale(values: Iterable[float]) -> alt.Scale:
    """A logarithmic scale just around the values (positive); one value gets a decade's tenth on either side."""
    low, high = _range(values)
    span = max(math.log(high / low), 0.05)
    return alt.Scale(
        type="log", domain=[low * math.exp(-MARGIN * span), high * math.exp(MARGIN * span)], nice=False
    )


def up_to(top: float) -> alt.Scale:
    """A linear scale from 0 to `top`."""
    return alt.Scale(domain=[0, top], nice=False)


def experts_scale(values: Iterable[float], *, highest: int) -> alt.Scale:
    """Base-2 logarithmic scale for experts per token from the smallest value (or 1) to `highest`.

    Where a configuration may choose no expert at all (a mean of 0), the scale is linear.
    """
    low, high = _range(values)
    if low <= 0:
        return up_to(max(high, highest))
    return alt.Scale(type="log", base=2, domain=[min(low, 1) / 1.12, max(high, highest) * 1.12], nice=False)


def powers_of_two(highest: int, *, step: int = 1) -> dict[str, object]:
    """Ticks at the powers of two up to `highest` experts, every `step`-th of them."""
    ticks = [2**power for power in range(0, int(math.log2(max(highest, 1))) + 1, step)]
    return {"values": ticks, "format": "d", "tickCount": len(ticks)}


def number_axis(title: str | None, *, ticks: int = 5, **options: object) -> alt.Axis:
    """Axis of plain decimal numbers with four significant digits at most."""
    return alt.Axis(title=title, format=",.4~r", tickCount=ticks, **options)


def share_scale() -> alt.Scale:
    """A share, from 0 to 1, whole."""
    return SHARES


def _range(values: Iterable[float]) -> tuple[float, float]:
    kept = [float(value) for value in values if value is not None and math.isfinite(value)]
    return (min(kept), max(kept)) if kept else (1.0, 1.0)
