"""The model that a process loaded last, kept for its next job."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch

from switchyard.artifacts.digests import DIGESTS
from switchyard.models.load import folder_digest, load_model, load_tokenizer

log = logging.getLogger(__name__)


class Loaded(NamedTuple):
    """A model folder in memory."""

    digest: str
    model: torch.nn.Module
    tokenizer: Any
    kept: dict[tuple, Any]
    """What jobs made of the model and the next ones may use; it goes with the model."""
    gpu_mem_gb: int
    """What was leased of a card for it."""


KEPT: dict[tuple, Loaded] = {}
"""The model that was loaded last."""


def load_kept(folder: Path, dtype: str, gpu_mem_gb: int) -> Loaded:
    """A model, kept for this process's next job: a rule leaves it as it was, bit for bit.

    Arguments and errors as of `models.load.load_model`. It is loaded anew if the files of the folder are new or more of
    a card is needed.
    """
    wanted = (folder, dtype, _written(folder))
    if wanted not in KEPT or KEPT[wanted].gpu_mem_gb < gpu_mem_gb:
        KEPT.clear()  # first, since there may be room for one only
        torch.cuda.empty_cache()
        digest = folder_digest(folder)
        log.info("loading %s", folder)
        model = load_model(folder, dtype=dtype, gpu_mem_gb=gpu_mem_gb)
        KEPT[wanted] = Loaded(digest, model, load_tokenizer(folder), {}, gpu_mem_gb)
    return KEPT[wanted]


def _written(folder: Path) -> tuple[int, ...]:
    """When each file of a folder was last written, in nanoseconds: another number where one is replaced.

    Without that of the digests, which changes when a copy's weights are found whole.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.name != DIGESTS]
    return tuple(path.stat().st_mtime_ns for path in files)
