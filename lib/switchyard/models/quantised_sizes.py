"""How a model's weights are quantised, and the bytes that leaves. Imports the standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

KINDS = {"nf4": 4, "int8": 8}
"""Formats of bitsandbytes, and the bits of a code."""

BLOCK = {"nf4": 64, "int8": 256}
"""Weights that share a scale, which is the largest magnitude among them in their own dtype."""

EXPANDED = {"cpu": 2**25, "cuda": 2**30}
"""Bytes of packed experts of a layer that are expanded at once, by device; one expert where that is larger. A card is
given enough experts to be busy."""

QUANTISE = "quantise.json"
"""File of a prepared model folder that says how it is loaded; not there where weights stay as they are."""

PLACES = ("card", "host")
"""Where packed experts stay: beside the rest, or in host memory, from which the used ones cross the bus."""


@dataclass(frozen=True)
class Quantise:
    """What becomes of weights when a model is loaded; `none` leaves them in the model's dtype.

    Norms, routers, embeddings and the output head always stay in the model's dtype.
    """

    experts: str = "none"
    """Of the experts of MoE blocks."""
    rest: str = "none"
    """Of all other matrices of the layers: attention, dense and shared feed-forward blocks."""
    experts_on: str = "card"

    @classmethod
    def of(cls, stated: Mapping[str, Any] | None) -> Self:
        """From an entry's `quantise`, or a structure's; None is no quantising."""
        return cls(**(stated or {}))

    @classmethod
    def of_folder(cls, folder: Path) -> Self:
        """What a model folder says."""
        file = folder / QUANTISE
        return cls.of(json.loads(file.read_text("utf-8")) if file.is_file() else None)

    def __bool__(self) -> bool:
        return (self.experts, self.rest) != ("none", "none")

    def __str__(self) -> str:
        place = ", kept on the host" if self.experts_on == "host" else ""
        return f"experts {self.experts}{place}, rest {self.rest}"

    def as_json(self) -> dict[str, str]:
        """What `of` reads."""
        return asdict(self)


def bytes_per_weight(kind: str, plain: float) -> float:
    """Bytes of a weight with its share of the scale; `plain` where the kind is `none`."""
    return plain if kind == "none" else KINDS[kind] / 8 + plain / BLOCK[kind]
