"""Weights that are not the ones that were recorded are refused."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from reference.damage import flip_bit
from switchyard.artifacts import digests
from switchyard.errors import InputError

CONTENT = b"the dog and the cat\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder, a file in it the output of a job."""
    path = tmp_path / "model"
    path.mkdir()
    (path / "model.safetensors").write_bytes(CONTENT)
    (path / ".snakemake_timestamp").touch()
    digests.write_digests(path)
    return path


def test_a_flipped_bit_in_weights_is_refused_by_name(folder: Path) -> None:
    digests.check_weights(folder)
    flip_bit(folder / "model.safetensors")
    with pytest.raises(InputError) as caught:
        digests.check_weights(folder)
    assert str(caught.value) == (
        f"{folder}/model.safetensors: is damaged (its SHA-256 is not the recorded one); "
        f"delete {folder}; the same command makes it again"
    )


def test_large_weights_are_read_again_only_if_they_may_have_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "ALWAYS_READ_BYTES", 0)
    weights, recorded = folder / "model.safetensors", (folder / digests.DIGESTS).stat().st_mtime_ns
    os.utime(weights, ns=(recorded, recorded))
    flip_bit(weights)
    digests.check_weights(folder)
    os.utime(weights, ns=(recorded + 1, recorded + 1))
    with pytest.raises(InputError, match="is damaged"):
        digests.check_weights(folder)
    weights.write_bytes(CONTENT + b"more")
    os.utime(weights, ns=(recorded, recorded))
    with pytest.raises(InputError, match="is damaged"):
        digests.check_weights(folder)


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder of two weight files that count as large together and not alone."""
    monkeypatch.setattr(digests, "ALWAYS_READ_BYTES", len(CONTENT) + 1)
    path = tmp_path / "large"
    path.mkdir()
    for name in ("a", "b"):
        (path / f"{name}.safetensors").write_bytes(CONTENT)
    digests.write_digests(path)
    return path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read whole."""
    names: list[str] = []
    plain = digests.hash_file
    monkeypatch.setattr(digests, "hash_file", lambda path: names.append(path.name) or plain(path))
    return names


def test_large_weights_are_read_when_they_are_fetched_and_by_no_later_job(
    large: Path, read: list[str]
) -> None:
    for _ in range(2):
        digests.check_weights(large)
    assert read == []


def test_a_copy_with_new_times_is_read_once_and_then_trusted(
    large: Path, tmp_path: Path, read: list[str]
) -> None:
    moved = large.rename(tmp_path / "moved")
    digests.check_weights(moved)
    assert read == []
    later = (moved / digests.DIGESTS).stat().st_mtime_ns + 10**9
    for path in moved.glob(digests.WEIGHTS):  # cp -r without times, the weights last
        os.utime(path, ns=(later, later))
    for _ in range(2):
        digests.check_weights(moved)
    assert sorted(read) == ["a.safetensors", "b.safetensors"]
    flip_bit(moved / "b.safetensors")
    os.utime(moved / "b.safetensors", ns=(later + 1, later + 1))
    with pytest.raises(InputError, match=r"b\.safetensors: is damaged"):
        digests.check_weights(moved)
    with pytest.raises(InputError, match=r"b\.safetensors: is damaged"):  # a damaged one is never trusted
        digests.check_weights(moved)


def test_missing_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: is damaged \(the file is missing\)"):
        digests.check_weights(folder)


def test_a_file_of_the_hubs_cache_is_compared_with_its_name(tmp_path: Path) -> None:
    blob = tmp_path / hashlib.sha256(CONTENT).hexdigest()
    blob.write_bytes(CONTENT)
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").symlink_to(blob)
    assert digests.write_digests(model) == {"model.safetensors": blob.name}
    flip_bit(blob)
    with pytest.raises(InputError, match=f"delete {model}/model.safetensors and {blob}; the same"):
        digests.write_digests(model)
