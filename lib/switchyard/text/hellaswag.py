"""HellaSwag: the activity and its context, then the ending; as lm-evaluation-harness 0.4.13 writes them."""

from __future__ import annotations

import re

_WIKIHOW_ARTEFACT = re.compile(r"\[.*?\]")


def clean(text: str) -> str:
    """Text without the bracketed artefacts of its WikiHow part."""
    text = text.strip().replace(" [title]", ". ")
    return _WIKIHOW_ARTEFACT.sub("", text).replace("  ", " ")


def context(activity: str, first: str, second: str) -> str:
    """`Activity: first part Second part`; the second part may be empty."""
    return clean(f"{activity}: {first} {second.capitalize()}")
