"""How numbers are printed: one function, so that a quantity looks the same wherever it stands."""

from __future__ import annotations

import math

ABSENT = "–"

FORMATS = {
    "perplexity": "{:#.4g}",
    "experts": "{:.2f}",
    "share": "{:.1%}",
    "share_change": "{:+.1%}",
    "nats": "{:.4f}",
    "nats_change": "{:+.4f}",
    "percent": "{:+.1f} %",
    "speed": "{:,.0f}",
    "ms": "{:.2f}",
    "p": "{:.3f}",
    "count": "{:,.0f}",
    "plain": "{:.3f}",
}


def number(value: float | None, kind: str) -> str:
    """`value` in the format of its kind (a key of FORMATS); a dash for what is not defined.

    Perplexities have four significant digits, all of them where there are more before the point. A change that
    rounds to nothing is printed without a sign, so that `-0.0 %` never appears.
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    if kind == "perplexity" and abs(value) >= 9999.5:
        return f"{value:,.0f}"
    text = FORMATS[kind].format(value)
    if text[0] in "+-" and not any(digit in text for digit in "123456789"):
        return text[1:]
    return text


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """`1 dataset`, `3 datasets`, `no datasets`."""
    return f"{count or 'no'} {noun if count == 1 else plural or noun + 's'}"


def listed(items: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
