"""What is known of a study's models before a weight is opened."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from switchyard.models.structure import structure


def known_structure(
    config: Mapping[str, Any], model: str, root: Path = Path("."), prepared: Path | None = None
) -> dict[str, Any] | None:
    """The structure (`switchyard.models.structure`) of a model of a study, as far as it is known now.

    From the `prepared` model folder, the entry's own folder, the hub's cache, or what the entry states; a model that is
    trained here has the shape of its recipe and the vocabulary of the corpus. None where nothing is known.

    Args:
        config: the resolved configuration.
        model: a name in `models`.
        root: the folder that relative paths start from.
        prepared: the folder that the study prepares the model in.
    """
    entry = config["models"][model]
    if prepared is not None and (known := _read(prepared / "structure.json")) is not None:
        return known
    if entry["source"] == "pocket" and entry["retrain"]:
        recipe = entry["training"]
        shape = {
            "vocab_size": config["corpus"]["vocabulary_size"],
            "tie_word_embeddings": True,
            **recipe["shape"],
        }
        return structure({"model_type": recipe["architecture"], **shape})
    folder = hub_snapshot(entry) if entry["source"] == "hub" else root / entry["path"]
    if (content := _read(folder / "config.json")) is not None:
        return structure(content)
    return with_layers(entry["structure"]) if entry.get("structure") else None


def with_layers(stated: Mapping[str, Any]) -> dict[str, Any]:
    """A structure that a study states, with the layers that it leaves out: every layer has experts."""
    return {"num_hidden_layers": stated["num_layers"], "dense_intermediate_size": None, **stated}


def hub_cache() -> Path:
    """Where the hub's cache is, or would be."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub")


def hub_snapshot(entry: Mapping[str, Any]) -> Path:
    """Where the hub's cache holds the revision of an entry, or would."""
    name = f"models--{entry['repository'].replace('/', '--')}"
    return hub_cache() / name / "snapshots" / entry["revision"]


def _read(file: Path) -> dict[str, Any] | None:
    """A JSON file; None where there is none that can be read: the rule that prepares the model says what is wrong."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
