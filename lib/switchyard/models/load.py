"""Model folders: fetched, checked before anything is loaded, and loaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from switchyard.artifacts.digests import DIGESTS, check_weights, known_digests
from switchyard.artifacts.files import read_json, write_json
from switchyard.artifacts.stamps import sha256_file, sha256_json
from switchyard.errors import InputError
from switchyard.models.files import TOKENIZER_FILES, fault_of_folder
from switchyard.models.quantised_sizes import QUANTISE, Quantise
from switchyard.models.structure import length_fault
from switchyard.runtime.placement import devices

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HUB_FILES = ["*.safetensors", "*.json", "*.model", "*.txt"]
"""What is taken from a hub repository: weights without pickles, and no code."""

_LOCAL = {"local_files_only": True, "trust_remote_code": False}


ADDED_FILES = ("structure.json", DIGESTS, ".snakemake_timestamp")
"""What a prepared model folder holds beside the checkpoint; the first names the commit that wrote it."""


def copy_folder(source: Path, folder: Path) -> None:
    """Copy a model folder, following links.

    Raises:
        InputError: it is not there.
    """
    if fault := fault_of_folder(source):
        raise InputError(f"models: {source} {fault}")
    shutil.copytree(source, folder)


def hub_folder(repository: str, revision: str, files: Sequence[str] = HUB_FILES) -> Path:
    """Download files of a pinned revision into the hub cache; returns their folder there.

    Raises:
        InputError: the revision cannot be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(files)))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise InputError(
            f"models: {repository} at {revision[:12]} cannot be read from the hub ({type(error).__name__}); "
            "check name, revision, network and access rights"
        ) from error


def link_hub_snapshot(repository: str, revision: str, folder: Path) -> Path:
    """Link the files of `hub_folder` into `folder`; returns their place in the cache."""
    snapshot = hub_folder(repository, revision)
    folder.mkdir(parents=True)
    for path in sorted(snapshot.rglob("*")):
        if path.is_file():
            (folder / path.relative_to(snapshot)).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(path.resolve(), folder / path.relative_to(snapshot))
    return snapshot


def check_folder(folder: Path) -> None:
    """Look at every weight file's header, without reading a weight, and at the tokenizer.

    Raises:
        InputError: no safetensors, a file that ends early, a part of the checkpoint that is missing, no tokenizer.
    """
    if fault := fault_of_folder(folder):
        raise InputError(f"models: {folder} {fault}")
    files = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    wanted = _weight_files(index) if index.is_file() else set()
    for name in sorted(wanted - {file.name for file in files}):
        raise InputError(f"models: {folder}/{name} is missing; fetch the whole checkpoint again")
    for file in files:
        try:
            with safe_open(file, framework="numpy") as content:
                content.keys()
        except SafetensorError as error:
            raise InputError(
                f"models: {file} is truncated or damaged ({error}); fetch the checkpoint again"
            ) from error
    check_tokenizer(load_tokenizer(folder), load_config(folder).get_text_config().vocab_size, folder)


def write_quantise(folder: Path, stated: Mapping[str, str] | None) -> dict[str, Any]:
    """Say in a model folder how it is to be loaded; returns what its structure says of that."""
    if not stated:
        return {}
    write_json(folder / QUANTISE, stated)
    return {"quantise": dict(stated)}


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, vocab_size: int, folder: Path) -> None:
    """Raise InputError for a tokenizer with ids beyond the model's `vocab_size` embeddings, or that begins no text."""
    ids = {token: number for token, number in tokenizer.get_vocab().items() if number >= vocab_size}
    if ids:
        token, number = max(ids.items(), key=lambda item: item[1])
        raise InputError(
            f"models: {folder}: token {token!r} of the tokenizer has id {number}, the model has embeddings for "
            f"{vocab_size} ids; give the tokenizer that the model was trained with"
        )
    if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
        raise InputError(
            f"models: {folder}: the tokenizer has neither a bos nor an eos token, which stands before a text; "
            "set one in tokenizer_config.json"
        )


def _weight_files(index: Path) -> set[str]:
    """Names of the weight files that an index of tensors asks for."""
    try:
        return set(read_json(index)["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"models: {index} is damaged; fetch the checkpoint again") from error


def folder_digest(folder: Path) -> str:
    """SHA-256 over a model folder's files as they came; of weights the digests that were recorded are taken."""
    known = {name: entry["sha256"] for name, entry in known_digests(folder).items()}
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in ADDED_FILES)
    named = [(p.relative_to(folder).as_posix(), p) for p in files]
    return sha256_json([[name, known.get(name) or sha256_file(p)] for name, p in named])


def load_config(folder: Path):
    """The transformers configuration of a model folder; never runs code from it.

    Raises:
        InputError: the folder has no config.json, or one that transformers cannot read.
    """
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise InputError(f"models: {folder} holds no config.json; give a Hugging Face model folder")
    try:
        return AutoConfig.from_pretrained(folder, **_LOCAL)
    except (OSError, ValueError) as error:
        line = " ".join(str(error).split())[:160]
        raise InputError(
            f"models: {folder}/config.json cannot be read ({line}); give a model that transformers knows"
        ) from error


def check_length(folder: Path, max_length: int) -> None:
    """Raise InputError for sequences of `max_length` tokens if the model was trained on shorter ones only."""
    if fault := length_fault(read_json(folder / "structure.json"), max_length):
        raise InputError(f"max_length: the model {folder.name} {fault}")


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder; never runs code from it.

    Raises:
        InputError: the folder has no tokenizer, or one that cannot be read.
    """
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise InputError(f"models: {folder} holds no tokenizer; add tokenizer.json")
    try:
        return AutoTokenizer.from_pretrained(folder, **_LOCAL)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"models: {folder} holds no tokenizer that can be read; add tokenizer.json"
        ) from error


def load_model(
    folder: Path, *, dtype: str = "float32", gpu_mem_gb: int = 0, quantise: Quantise | None = None
) -> PreTrainedModel:
    """The model in evaluation mode, on a card with room for it when there is one; packed if its folder says so.

    A model that no card holds is divided among several whole ones (`placement.devices`).

    Args:
        dtype: float32, bfloat16 or float16.
        gpu_mem_gb: memory on a card, for weights and work, that this process leases (`switchyard.runtime.placement`).
        quantise: instead of what the folder says.

    Raises:
        InputError: weights are damaged (`artifacts.digests`), or are missing or have another shape than the
            configuration says; transformers would go on with random ones.
    """
    check_weights(folder)
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    where = devices(gpu_mem_gb)
    quantise = Quantise.of_folder(folder) if quantise is None else quantise
    model, found = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=getattr(torch, dtype),
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **_places(where),  # no second copy on the host
        **_packing(quantise),
        **_LOCAL,
    )
    missing = sorted(str(key) for key in found["missing_keys"])
    misshapen = sorted(str(key[0]) for key in found["mismatched_keys"])
    misshapen += getattr(getattr(model, "hf_quantizer", None), "misshapen", [])
    if missing or misshapen:
        fault = (
            f"has no weights for {missing[0]}"
            if missing
            else f"has weights of the wrong shape for {misshapen[0]}"
        )
        raise InputError(f"models: {folder} {fault}; fetch the checkpoint again, with its own config.json")
    if quantise and "cpu" in where:
        from switchyard.models.quantise import return_large_blocks

        return_large_blocks()
    return model.eval() if len(where) > 1 else model.eval().to(next(iter(where)))


def _places(where: Mapping[str, int]) -> dict[str, Any]:
    """What `from_pretrained` is given so that weights are read onto cards; layers are divided evenly among several."""
    if "cpu" in where:
        return {"device_map": None}
    if len(where) == 1:
        return {"device_map": {"": next(iter(where))}}
    room = {int(card.rpartition(":")[2]): size for card, size in where.items()}
    return {"device_map": "balanced", "max_memory": room}


def _packing(quantise: Quantise) -> dict[str, Any]:
    """What `from_pretrained` is given so that weights are packed as they are read."""
    if not quantise:
        return {}
    from switchyard.models.quantise import PackedConfig
    from switchyard.models.used_experts import PACKED

    how = {"quantization_config": PackedConfig(quantise.as_json())}
    return how if quantise.experts == "none" else {**how, "experts_implementation": PACKED}
