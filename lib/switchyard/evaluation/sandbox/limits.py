"""What a candidate may use up."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """Limits of one candidate."""

    seconds: float = 10
    """CPU time, and a third of the wall time after which it is ended."""
    memory_mb: int = 1024
    """Address space of its only process."""
    files_mb: int = 32
    """Size of its scratch folder, and of each file in it."""
    threads: int = 16
    """Under an ordinary user of its own; processes it has none but itself."""
    open_files: int = 64

    @property
    def wall_seconds(self) -> float:
        """Wall time after which a candidate is ended; CPU time decides on a machine that is not overloaded."""
        return 3 * self.seconds

    def as_json(self) -> dict[str, Any]:
        """The fields by name."""
        return dataclasses.asdict(self)
