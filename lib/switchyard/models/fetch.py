"""Fetch a pinned checkpoint from the hub after looking at its size, and try it with a short generation."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from switchyard.errors import InputError
from switchyard.models.load import HUB_FILES, check_folder, hub_folder, load_config, load_tokenizer
from switchyard.models.routers import check_family

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GB = 10**9

PROMPT = "A mixture of experts is"
"""Continued where a checkpoint is tried."""

NEW_TOKENS = 16

_COMMIT = re.compile(r"[0-9a-f]{40}")


class Size(NamedTuple):
    """Of a revision's files, those of `HUB_FILES` alone."""

    files: int
    total_bytes: int
    missing_bytes: int
    """What is not in the hub's cache yet; of a file that was cut off all of it."""


def size_on_hub(repository: str, revision: str) -> Size:
    """The size of a revision before anything of it is downloaded.

    Raises:
        InputError: the revision is not pinned, or its list of files cannot be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError, HfHubHTTPError, HFValidationError

    if not _COMMIT.fullmatch(revision):
        raise InputError(f"--revision: {revision} is no commit; give the 40 hexadecimal digits of a commit")
    try:
        files = snapshot_download(repository, revision=revision, allow_patterns=HUB_FILES, dry_run=True)
    except DryRunError:
        return _size_in_cache(repository, revision)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise InputError(
            f"{repository} at {revision[:12]} cannot be read from the hub ({type(error).__name__}); check name, "
            "revision, network and access rights"
        ) from error
    missing = sum(one.file_size for one in files if one.will_download)
    return Size(len(files), sum(one.file_size for one in files), missing)


def _size_in_cache(repository: str, revision: str) -> Size:
    """Where there is no network: what the cache holds of the revision."""
    files = [path for path in hub_folder(repository, revision).rglob("*") if path.is_file()]
    return Size(len(files), sum(path.stat().st_size for path in files), 0)


def fetch(repository: str, revision: str) -> Path:
    """The folder of a revision in the hub's cache, downloaded as far as it is not there, and looked at.

    A download that was cut off goes on with the same command. What no rule could route is refused after its config.

    Raises:
        InputError: the disk is too small, the checkpoint is none that can be rerouted, or is not whole.
    """
    check_family(load_config(hub_folder(repository, revision, ["config.json"])))
    size = size_on_hub(repository, revision)
    check_room(size, cache_folder())
    folder = hub_folder(repository, revision)
    check_folder(folder)
    return folder


def cache_folder() -> Path:
    """The hub's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def check_room(size: Size, place: Path) -> None:
    """Say how much is to come; raises `InputError` where the disk of `place` does not take it."""
    disk = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(disk).free
    print(
        f"{size.files} files, {size.total_bytes / GB:.2f} GB, of which {size.missing_bytes / GB:.2f} GB are to be "
        f"downloaded into {place}; {free / GB:.1f} GB are free there",
        flush=True,
    )
    if size.missing_bytes > free:
        raise InputError(
            f"{place}: {size.missing_bytes / GB:.1f} GB are to be downloaded, {free / GB:.1f} GB are free; free space "
            "there, or set HF_HOME to a folder on a larger disk"
        )


def try_out(folder: Path, model: PreTrainedModel) -> str:
    """A few tokens that the model writes after `PROMPT`, each the most probable one."""
    tokenizer = load_tokenizer(folder)
    ids = tokenizer(PROMPT, return_tensors="pt")["input_ids"].to(model.device)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    written = model.generate(
        ids,
        attention_mask=ids.new_ones(ids.shape),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        pad_token_id=pad,
    )
    return tokenizer.decode(written[0], skip_special_tokens=True)
