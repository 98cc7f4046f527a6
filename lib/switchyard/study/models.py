"""What is known of a study's models before a weight is opened."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from switchyard.artifacts.stamps import CHECKOUT
from switchyard.models.quantised_sizes import Quantise
from switchyard.models.structure import structure


def known_structure(
    entry: Mapping[str, Any], prepared: Path | None = None, *, root: Path = Path("."), vocabulary_size: int
) -> dict[str, Any] | None:
    """The structure (`switchyard.models.structure`) of an entry of `models`, as far as it is known now.

    From the entry's own folder or the hub's cache, the `prepared` folder, or what the entry states. A model that is
    trained here has the shape of its recipe and the corpus' `vocabulary_size`. None where nothing is known. That of an
    entry with `quantise` holds it, too.

    Args:
        entry: of a resolved configuration.
        prepared: the folder that the study prepares the model in.
        root: the folder that relative paths start from.
        vocabulary_size: of the study's corpus.
    """
    found = _structure(entry, prepared, root, vocabulary_size)
    return {**found, "quantise": entry["quantise"]} if found and entry.get("quantise") else found


def _structure(
    entry: Mapping[str, Any], prepared: Path | None, root: Path, vocabulary_size: int
) -> dict[str, Any] | None:
    if entry["source"] == "pocket" and entry.get("retrain"):
        recipe = entry["training"]
        shape = {"vocab_size": vocabulary_size, "tie_word_embeddings": True, **recipe["shape"]}
        return structure({"model_type": recipe["architecture"], **shape})
    if (content := own_config(entry, root)) is not None:
        return structure(content)
    if prepared is not None and (known := _read(prepared / "structure.json")) is not None:
        return known
    return dict(entry["structure"]) if entry.get("structure") else None


def bases(models: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Of each quantised entry of `models` the one that has the same weights and dtype, and is not quantised."""
    plain = {name: _weights_of(one) for name, one in models.items() if not Quantise.of(one.get("quantise"))}
    packed = {name: _weights_of(one) for name, one in models.items() if name not in plain}
    found = {name: [base for base, same in plain.items() if same == own] for name, own in packed.items()}
    return {name: same[0] for name, same in found.items() if same}


def _weights_of(entry: Mapping[str, Any]) -> tuple:
    """Where an entry's weights come from, and their dtype."""
    if entry["source"] == "hub":
        return entry["repository"], entry["revision"], entry["dtype"]
    trained = json.dumps(entry["training"], sort_keys=True) if entry.get("retrain") else None
    return trained or entry["path"], entry["dtype"]


def own_config(entry: Mapping[str, Any], root: Path = Path(".")) -> dict[str, Any] | None:
    """The config.json of an entry's own folder or of the hub's cache, None where there is none yet."""
    folder = hub_snapshot(entry) if entry["source"] == "hub" else checkpoint_folder(entry, root)
    return _read(folder / "config.json")


def checkpoint_folder(entry: Mapping[str, Any], root: Path = Path(".")) -> Path:
    """Where a checkpoint on disk lies: one that is shipped in the checkout, another one from `root` on."""
    return (
        Path(os.path.relpath(CHECKOUT / entry["path"]))
        if entry["source"] == "pocket"
        else root / entry["path"]
    )


def hub_snapshot(entry: Mapping[str, Any]) -> Path:
    """Where the hub's cache holds the revision of an entry, or would."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    name = f"models--{entry['repository'].replace('/', '--')}"
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / name / "snapshots" / entry["revision"]


def is_cached(entry: Mapping[str, Any]) -> bool:
    """Whether the hub's cache holds all weights of a hub model's entry."""
    folder = hub_snapshot(entry)
    index = _read(folder / "model.safetensors.index.json") or {}
    files = set(index.get("weight_map", {}).values()) or {"model.safetensors"}
    return all((folder / name).is_file() for name in files)


def _read(file: Path) -> dict[str, Any] | None:
    """A JSON file; None where there is none that can be read: the rule that prepares the model says what is wrong."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
