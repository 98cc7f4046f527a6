"""Which files a model folder must hold. Imports the standard library only."""

from __future__ import annotations

from pathlib import Path

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
"""One of them must be there: without any, transformers makes an empty tokenizer and says nothing."""


def fault_of_folder(folder: Path) -> str | None:
    """What a Hugging Face model folder lacks, with the remedy; None where it has config, weights and tokenizer."""
    if not (folder / "config.json").is_file():
        return "holds no config.json; give a Hugging Face model folder"
    if not any(folder.glob("*.safetensors")):
        return "holds no .safetensors; convert the checkpoint (pickles are never loaded)"
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return "holds no tokenizer; add tokenizer.json"
    return None
