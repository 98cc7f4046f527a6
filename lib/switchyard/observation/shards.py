"""What a shard of the windows was seen to do: all its counts, their file, its checkpoints, and the merge of shards."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import orjson
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from switchyard.artifacts.files import STAMP_KEY, atomic
from switchyard.artifacts.stamps import sha256_file
from switchyard.errors import InputError
from switchyard.observation.counters import RoutingCounter
from switchyard.observation.ngrams import NGramCounts
from switchyard.observation.statistics import RoutingStatistics

log = logging.getLogger(__name__)

MakeCounter = Callable[..., RoutingCounter]
"""Makes an empty counter of (layers, num_experts=, top_k=): `Coactivation.empty`, or a `partial` of one."""

KEPT_CHECKPOINTS = 2
"""The newest ones; the last but one is there if the last cannot be read."""


@dataclass
class Observation:
    """Everything that is counted, of some batches of the windows."""

    statistics: RoutingStatistics
    ngrams: NGramCounts
    counters: dict[str, RoutingCounter]
    totals: Counter[str]
    """`tokens` that were counted, `special` tokens and `padding` places that were not."""

    @classmethod
    def empty(
        cls, statistics: dict[str, Any], ngrams: dict[str, Any], counters: Mapping[str, MakeCounter]
    ) -> Self:
        """Nothing seen yet; `statistics` and `ngrams` are the arguments of their classes."""
        sizes = {"num_experts": statistics["num_experts"], "top_k": statistics["top_k"]}
        made = {name: make(statistics["layers"], **sizes) for name, make in counters.items()}
        return cls(RoutingStatistics(**statistics), NGramCounts(**ngrams), made, Counter())

    def settings(self) -> dict[str, Any]:
        """What is counted, in JSON's types; two observations of equal settings can be merged."""
        return {
            "statistics": self.statistics.shape(),
            "ngrams": self.ngrams.shape(),
            "counters": {
                name: [
                    type(counter).__name__,
                    {each: counter.arrays()[each].tolist() for each in counter.SETTINGS},
                ]
                for name, counter in sorted(self.counters.items())
            },
        }

    def merge(self, other: Self) -> None:
        """Add another shard's counts."""
        self.statistics.merge(other.statistics)
        self.ngrams.merge(other.ngrams)
        for name, counter in self.counters.items():
            counter.merge(other.counters[name])
        self.totals.update(other.totals)

    def save(self, path: str | Path, head: Mapping[str, Any]) -> None:
        """Write it as safetensors, atomically, with `head` in its metadata."""
        parts = {"statistics": self.statistics.state(), "ngrams": self.ngrams.state()}
        parts |= {f"counter {name}": counter.arrays() for name, counter in self.counters.items()}
        arrays = {f"{part}/{name}": array for part, own in parts.items() for name, array in own.items()}
        content = {**head, **self.settings(), "totals": dict(self.totals)}
        with atomic(path) as partial:
            save_file(arrays, partial, {STAMP_KEY.decode(): orjson.dumps(content).decode()})

    @classmethod
    def load(cls, path: str | Path, counters: Mapping[str, MakeCounter]) -> tuple[Self, dict[str, Any]]:
        """What `save` wrote, and its head.

        Raises:
            InputError: the file is damaged or is none of these, or lacks one of `counters`.
        """
        sha256_file(path)
        try:
            with safe_open(path, framework="numpy") as file:
                head = orjson.loads(file.metadata()[STAMP_KEY.decode()])
                found = cls.empty(head["statistics"], head["ngrams"], counters)
                found._restore({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
                found.totals.update(head["totals"])
        except (SafetensorError, OSError, KeyError, TypeError, orjson.JSONDecodeError) as error:
            raise InputError(
                f"{path}: not a whole shard of an observation ({error}); observe again"
            ) from error
        return found, head

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        def part(prefix: str) -> dict[str, np.ndarray]:
            cut = len(prefix) + 1
            return {name[cut:]: array for name, array in arrays.items() if name.startswith(f"{prefix}/")}

        self.statistics.restore(part("statistics"))
        self.ngrams.restore(part("ngrams"))
        self.counters = {
            name: type(counter).from_arrays(part(f"counter {name}"))
            for name, counter in self.counters.items()
        }


class Checkpoints:
    """The checkpoints of one shard, `{shard}.checkpoint-{batch}.safetensors` beside its file."""

    def __init__(self, out: str | Path, head: Mapping[str, Any]) -> None:
        self.out, self.head = Path(out), dict(head)

    def save(self, seen: Observation, next_batch: int) -> None:
        """Write a checkpoint after the batch before `next_batch`, and drop all but the newest."""
        path = self.out.with_name(f"{self.out.stem}.checkpoint-{next_batch:09d}.safetensors")
        seen.save(path, {**self.head, "next_batch": next_batch})
        self._drop(KEPT_CHECKPOINTS)

    def newest(self, counters: Mapping[str, MakeCounter]) -> tuple[Observation, int] | None:
        """The newest one that can be read and is of the same inputs, with the batch that comes next."""
        for path in reversed(self._paths()):
            try:
                seen, head = Observation.load(path, counters)
            except InputError as error:
                log.warning("%s", error)
                continue
            if all(head.get(name) == value for name, value in self.head.items()):
                return seen, head["next_batch"]
            log.warning("%s: made from other inputs or settings; ignored", path)
        return None

    def is_finished(self) -> bool:
        """Whether the shard's own file is there and of the same inputs."""
        try:
            head = _head(self.out)
        except InputError:
            return False
        return {name: head[name] for name in self.head} == self.head

    def drop(self) -> None:
        """Delete all of them."""
        self._drop(0)

    def _drop(self, kept: int) -> None:
        paths = self._paths()
        for path in paths[: len(paths) - kept]:
            path.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        return sorted(self.out.parent.glob(f"{self.out.stem}.checkpoint-*.safetensors"))


def merge_shards(
    paths: Sequence[str | Path], *, counters: Mapping[str, MakeCounter] | None = None
) -> Observation:
    """The observation of all windows from the files of all shards, one of them in memory at a time beside the sum.

    Args:
        paths: every shard's file once; they are merged by number, whatever the order here.
        counters: as they were given to `observe_shard`.

    Raises:
        InputError: a file that is damaged, of another run, there twice, or missing.
    """
    heads = {path: _head(path) for path in paths}
    ordered = sorted(paths, key=lambda path: heads[path]["shard"])
    first = heads[ordered[0]] if ordered else {"shards": 1}
    for path in ordered:
        if heads[path]["inputs"] != first["inputs"]:
            raise InputError(f"{path}: of other windows, model or settings than {ordered[0]}; observe again")
    if [heads[path]["shard"] for path in ordered] != list(range(first["shards"])):
        found = ", ".join(str(heads[path]["shard"]) for path in ordered) or "none"
        raise InputError(f"shards: found {found} of 0..{first['shards'] - 1}; give each of them once")
    whole, _ = Observation.load(ordered[0], counters or {})
    for path in ordered[1:]:
        whole.merge(Observation.load(path, counters or {})[0])
    return whole


def _head(path: str | Path) -> dict[str, Any]:
    """The head of a finished shard."""
    try:
        with safe_open(path, framework="numpy") as file:
            head = orjson.loads((file.metadata() or {}).get(STAMP_KEY.decode(), "{}"))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a whole shard of an observation ({error}); observe again") from error
    if not {"shard", "shards", "inputs"} <= head.keys() or "next_batch" in head:
        raise InputError(f"{path}: not a finished shard of an observation; observe again")
    return head
