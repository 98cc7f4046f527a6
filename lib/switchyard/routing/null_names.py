"""Names of the null distributions, and which of them a model can have. Imports nothing."""

from __future__ import annotations

NULLS = (
    "pooled",
    "epanechnikov",
    "tophat",
    "linear",
    "trimmed_2",
    "trimmed_4",
    "trimmed_8",
    "unselected",
    "empirical",
)
"""The nine variants in the order in which they are stored; `switchyard.routing.fitting` says what each is."""


def trim(name: str) -> int:
    """How many logits of a token `trimmed_<n>` drops: half of them the highest, half the lowest."""
    return int(name.removeprefix("trimmed_"))


def left_out(num_experts: int, top_k: int) -> dict[str, str]:
    """The nulls that cannot be fitted because they drop every expert, each with the reason in a sentence."""
    dropped = {"unselected": top_k, **{name: trim(name) for name in NULLS if name.startswith("trimmed_")}}
    return {
        name: f"{name} drops {count} of {num_experts} experts and leaves none"
        for name, count in dropped.items()
        if count >= num_experts
    }
