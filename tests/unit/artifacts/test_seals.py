"""A sealed file that is not what was written is told from a whole one, and nothing else is."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from switchyard.artifacts import seals
from switchyard.artifacts.files import atomic, read_json, write_json, write_text
from switchyard.artifacts.stamps import sha256_file
from switchyard.errors import InputError

CONTENT = "the dog and the cat\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A sealed file; skips where the file system keeps no seals."""
    path = tmp_path / "file"
    write_text(path, CONTENT)
    try:
        os.getxattr(path, seals.ATTRIBUTE)
    except (OSError, AttributeError) as error:
        pytest.skip(f"the file system keeps no seals: {error}")
    return path


def damage(path: Path, *, truncate: bool = False) -> None:
    """Change one bit, or cut the last byte, and leave the time of change as it was, as a failing disk does."""
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(content)
        file.truncate(len(content) - truncate)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_whole_file_gives_its_digest(file: Path) -> None:
    assert seals.checked(file) == hashlib.sha256(CONTENT.encode()).hexdigest() == sha256_file(file)


@pytest.mark.parametrize("truncate", [False, True])
def test_a_damaged_file_is_told_in_one_line(file: Path, truncate: bool) -> None:
    damage(file, truncate=truncate)
    with pytest.raises(InputError) as caught:
        sha256_file(file)
    assert str(caught.value) == (
        f"{file}: is damaged or was changed, its content is not what its job wrote; remove {file}, "
        "then the same command makes it again"
    )


def test_json_is_looked_at_when_it_is_read(tmp_path: Path, file: Path) -> None:
    path = tmp_path / "speed.json"
    write_json(path, {"tokens_per_second": 1234})
    path.chmod(0o600)
    assert read_json(path) == {"tokens_per_second": 1234}
    damage(path)
    with pytest.raises(InputError, match="is damaged"):
        read_json(path)


def test_a_file_in_a_folder_of_a_job_goes_with_the_folder(tmp_path: Path, file: Path) -> None:
    with atomic(tmp_path / "model") as partial:
        (partial / "more").mkdir(parents=True)
        (partial / "more" / "weights").write_text(CONTENT)
    (tmp_path / "model" / ".snakemake_timestamp").touch()
    damage(tmp_path / "model" / "more" / "weights")
    with pytest.raises(InputError, match=f"remove {tmp_path}/model, then"):
        sha256_file(tmp_path / "model")


def test_a_file_of_the_hubs_cache_is_held_against_its_name(tmp_path: Path) -> None:
    blob = tmp_path / hashlib.sha256(CONTENT.encode()).hexdigest()
    blob.write_text(CONTENT)
    (tmp_path / "weights").symlink_to(blob)
    assert seals.checked(tmp_path / "weights") == blob.name
    damage(blob)
    with pytest.raises(InputError, match=f"remove {tmp_path}/weights and {blob}, then"):
        seals.checked(tmp_path / "weights")


def test_what_takes_the_name_of_a_sealed_file_is_not_damaged(file: Path) -> None:
    other = file.with_name("other")
    other.write_text("mine\n")
    other.replace(file)
    assert seals.checked(file) == hashlib.sha256(b"mine\n").hexdigest()
    write_text(file, "again\n")
    assert seals.checked(file) == hashlib.sha256(b"again\n").hexdigest()


def test_what_is_written_into_a_sealed_file_is_told_as_that_or_damage(file: Path) -> None:
    file.write_text("edited in place\n")
    with pytest.raises(InputError, match="is damaged or was changed"):
        seals.check(file)


def test_a_sealed_file_may_be_touched(file: Path) -> None:
    file.touch()  # as snakemake does when a job has ended
    damage(file)
    with pytest.raises(InputError, match="is damaged"):
        seals.check(file)


def test_a_file_that_nothing_is_known_of_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").write_text(CONTENT)
    monkeypatch.delattr(seals, "_read")
    seals.check(tmp_path / "mine")


def test_a_seal_is_renamed_and_copied_with_its_file(tmp_path: Path, file: Path) -> None:
    copy = Path(shutil.copy2(file, tmp_path / "copy")).rename(tmp_path / "moved")
    damage(copy)
    with pytest.raises(InputError, match="moved: is damaged"):
        seals.checked(copy)


def test_without_seals_nothing_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no such attributes here")

    monkeypatch.setattr(os, "setxattr", refuse, raising=False)
    with monkeypatch.context() as blind:
        blind.delattr(seals, "_read")  # nothing is hashed for nothing
        write_text(tmp_path / "file", CONTENT)
    damage(tmp_path / "file")
    assert seals.checked(tmp_path / "file")


def test_a_settled_file_is_read_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long_ago = file.stat().st_mtime_ns - 2 * seals.SETTLED_NS
    os.utime(file, ns=(long_ago, long_ago))
    reads: list[Path] = []
    read = seals._read
    monkeypatch.setattr(seals, "_read", lambda path: reads.append(path) or read(path))
    assert seals.checked(file) == seals.checked(file)
    assert reads == [file]


def test_a_whole_folder_is_looked_through(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_text(tmp_path / "below" / "other", CONTENT)
    (tmp_path / "unsealed").touch()
    assert seals.main(tmp_path) == 0
    assert capsys.readouterr().out == "2 sealed files, 0 damaged\n"
    damage(tmp_path / "below" / "other")
    assert seals.main(tmp_path) == 1
    told = capsys.readouterr()
    assert told.out == "2 sealed files, 1 damaged\n"
    assert told.err.startswith(f"switchyard: error: {tmp_path}/below/other: is damaged")
