"""Digests: of weights, taken when a model folder is made and compared at load, and of the files that rules read.

`digests.json` in the folder holds size and SHA-256 of every weight file. Where they have 1 GB and more together, a file
is read again only if its size is another or it is newer than `digests.json`. What was read again and found whole is
trusted from then on: a copy of a study whose times are new is read once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from switchyard.artifacts.files import damaged, read_json, read_stamp, write_json
from switchyard.artifacts.stamps import hash_file, sha256_file, sha256_json

DIGESTS = "digests.json"
WEIGHTS = "*.safetensors"
MADE_BY_RULE = "structure.json"
"""A file that a model folder has if a rule made it; such a folder has digests, too."""

ALWAYS_READ_BYTES = 1_000_000_000
"""Weights that are smaller together are hashed at every load: it takes less than a second."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def write_digests(folder: Path) -> dict[str, str]:
    """Record the weight files of a new model folder; returns the SHA-256 of each by name.

    Raises:
        InputError: a file of the hub's cache is not what its name, a SHA-256, says.
    """
    digests = {path.name: hash_file(path) for path in sorted(folder.glob(WEIGHTS))}
    for name, digest in digests.items():
        blob = (folder / name).resolve().name
        if _SHA256.fullmatch(blob) and blob != digest:
            raise damaged(folder / name, "its SHA-256 is not that of the hub")
    sizes = {name: (folder / name).stat().st_size for name in digests}
    content = {name: {"size_bytes": sizes[name], "sha256": digest} for name, digest in digests.items()}
    write_json(folder / DIGESTS, content)
    return digests


def known_digests(folder: Path) -> dict[str, dict[str, Any]]:
    """`size_bytes` and `sha256` of each weight file as it was recorded, {} where nothing was."""
    return read_json(folder / DIGESTS) if (folder / DIGESTS).is_file() else {}


def check_weights(folder: Path) -> None:
    """Compare the weights of a model folder with their digests, large ones only if they may have changed.

    Raises:
        InputError: a weight file or the record of a rule's folder is missing, or a file is not the recorded one.
    """
    if (folder / MADE_BY_RULE).is_file() and not (folder / DIGESTS).is_file():
        raise damaged(folder / DIGESTS, "the file is missing")
    known = known_digests(folder)
    if not known:
        return
    read_all = sum(one["size_bytes"] for one in known.values()) < ALWAYS_READ_BYTES
    recorded_ns = newest_ns = (folder / DIGESTS).stat().st_mtime_ns
    for name, one in known.items():
        path = folder / name
        if not path.is_file():
            raise damaged(path, "the file is missing")
        status = path.stat()
        if read_all or status.st_mtime_ns > recorded_ns or status.st_size != one["size_bytes"]:
            check_weight_file(path)
        newest_ns = max(newest_ns, status.st_mtime_ns)
    if newest_ns > recorded_ns:
        with suppress(PermissionError):  # another user's folder: read again next time
            os.utime(folder / DIGESTS, ns=(newest_ns, newest_ns))


def check_weight_file(path: Path) -> None:
    """Compare one weight file with its digest, if there is one; raises `InputError` where they differ."""
    known = known_digests(path.parent).get(path.name)
    if known and hash_file(path) != known["sha256"]:
        raise damaged(path, "its SHA-256 is not the recorded one")


def digests(files: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of every file that a routing rule reads; of traces (a list), that of their own stamps."""
    return {
        name: sha256_json([read_stamp(path) for path in found])
        if isinstance(found, list)
        else sha256_file(found)
        for name, found in files.items()
    }
