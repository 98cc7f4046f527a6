"""A model folder that a verb of the command line works on, checked before any weight is read."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from switchyard.arguments import at_least
from switchyard.errors import InputError
from switchyard.models.structure import length_fault

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DTYPES = ("float32", "bfloat16", "float16")

MAX_LENGTH = 512
"""Tokens of a window, where a verb is not given another number and the model has that many positions."""


@dataclass(frozen=True)
class Checkpoint:
    """A Hugging Face model folder, and how a verb runs it."""

    folder: Path
    structure: dict[str, Any]
    dtype: str
    max_length: int
    """Most tokens that are fed in one sequence."""

    @classmethod
    def of(cls, folder: Path, *, dtype: str, max_length: int | None) -> Self:
        """Check the folder and its config.

        Args:
            max_length: None for `MAX_LENGTH`, or the model's positions where they are fewer.

        Raises:
            InputError: the folder is not whole, the model is none that can be rerouted, or has fewer positions.
        """
        from switchyard.models.load import check_folder, load_config
        from switchyard.models.routers import check_family

        check_folder(folder)
        structure = check_family(load_config(folder))
        if max_length is None:
            max_length = min(MAX_LENGTH, structure["max_position_embeddings"])
        if fault := length_fault(structure, max_length):
            raise InputError(f"--max-length: the model {folder.name} {fault}")
        return cls(folder, structure, dtype, max_length)

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name

    def load(self) -> PreTrainedModel:
        """The model in evaluation mode, on a card where there is one; prints what it runs on."""
        from switchyard.models.load import load_model
        from switchyard.runtime.placement import hardware

        model = load_model(self.folder, dtype=self.dtype)
        print(f"{self.name} in {self.dtype} on {hardware()}", flush=True)
        return model


def add_model_options(verb: argparse.ArgumentParser, *, required: bool = True, batch_size: int) -> None:
    """`--model`, `--dtype`, `--max-length` and `--batch-size`."""
    add = verb.add_argument
    add("--model", type=Path, required=required, help="a Hugging Face model folder")
    add("--dtype", choices=DTYPES, default="float32", help="precision of the weights (float32)")
    add(
        "--max-length",
        type=at_least(1, int),
        help=f"most tokens of a window ({MAX_LENGTH}, or the model's positions)",
    )
    add(
        "--batch-size",
        type=at_least(1, int),
        default=batch_size,
        help=f"windows of that length in a batch ({batch_size})",
    )
