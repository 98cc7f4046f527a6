"""A full disk and too little memory end in one line with a remedy, leave nothing half-written, and the work goes on.

The disk is full in two ways: a limit on the size of files, which needs no rights, and a small disk of its own, which
needs those of root.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from reference.synthetic import random_forward, write_trace
from reference.synthetic_study import Study
from reference.tiny import tiny_model
from switchyard.artifacts import shortages
from switchyard.artifacts.files import atomic, write_json, write_table, write_text
from switchyard.errors import InputError
from switchyard.runtime.log import logged
from switchyard.traces.internal_log import write_internal_log
from switchyard.traces.schema import HEAD_KEYS

pytestmark = pytest.mark.slow

ROOM_BYTES = 1 << 16
NUMBERS = np.random.default_rng(0).random(100_000)


def text(folder: Path) -> None:
    write_text(folder / "result", NUMBERS.tobytes().hex())


def table(folder: Path) -> None:
    write_table(folder / "result", pa.table({"number": NUMBERS}))


def numbers_as_json(folder: Path) -> None:
    write_json(folder / "result", NUMBERS)


def weights(folder: Path) -> None:
    with atomic(folder / "result") as partial:
        save_file({"numbers": NUMBERS}, partial)


def model(folder: Path) -> None:
    with atomic(folder / "result") as partial:
        tiny_model().save_pretrained(partial)
        write_text(partial / "more.txt", NUMBERS.tobytes().hex())


def forwards() -> list:
    return [
        random_forward(
            {(n, 0): 60}, np.random.default_rng(n), experts=64, layers=3, low=1, high=8, tested=True
        )
        for n in range(4)
    ]


def trace(folder: Path) -> None:
    write_trace(folder / "result", forwards(), keep_logits=True)


def internal_log(folder: Path) -> None:
    elsewhere = folder.parents[1] / "trace.parquet"
    if not elsewhere.exists():
        with unlimited():
            write_trace(elsewhere, forwards(), keep_logits=True)
    scores = pa.table({"sample_id": range(4), "text_preview": ["a"] * 4, "loss": [1.0] * 4})
    head = {**dict.fromkeys(HEAD_KEYS), "num_experts": 64, "num_layers": 3, "k_or_max_k": 8}
    write_internal_log(
        folder / "result", head=head, trace=elsewhere, scores=scores, study_folder=elsewhere.parent, min_k=1
    )


WRITERS = [text, table, numbers_as_json, weights, model, trace, internal_log]


@contextmanager
def limited(size_bytes: int) -> Iterator[None]:
    """No file of this process may grow beyond a size."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def unlimited() -> contextmanager:
    return limited(resource.getrlimit(resource.RLIMIT_FSIZE)[1])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a disk of its own of a size, and changes it: `disk(size_bytes)` is where it is mounted."""
    place = tmp_path / "disk"

    def disk(size_bytes: int) -> Path:
        how = (
            ["-o", f"remount,size={size_bytes}"]
            if place.is_mount()
            else ["-t", "tmpfs", "-o", f"size={size_bytes}"]
        )
        place.mkdir(exist_ok=True)
        done = subprocess.run(["mount", *how, "tmpfs", place], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a disk cannot be mounted here: {done.stderr.strip()}")
        return place

    yield disk
    if place.is_mount():
        subprocess.run(["umount", "--lazy", place], check=True)


def check_line(line: str, name: str, *words: str) -> None:
    assert "\n" not in line and name in line and ".part" not in line
    assert not [word for word in ("free space", "same command", *words) if word not in line], line


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_a_file_that_cannot_grow_is_told_and_leaves_nothing(write: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "disk" / "results"
    folder.mkdir(parents=True)
    with limited(ROOM_BYTES), pytest.raises(InputError) as caught:
        write(folder)
    check_line(str(caught.value), "results/result", "file too large", str(shortages.mount_point(tmp_path)))
    assert list(folder.iterdir()) == []
    write(folder)
    assert [path.name for path in folder.iterdir()] == ["result"]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_a_full_disk_is_told_and_leaves_nothing(
    write: Callable, tmp_path: Path, small_disk: Callable
) -> None:
    disk = small_disk(ROOM_BYTES)
    folder = disk / "results"
    folder.mkdir()
    with pytest.raises(InputError) as caught:
        write(folder)
    check_line(str(caught.value), "results/result", "no space left on device", str(disk))
    assert list(folder.iterdir()) == []
    small_disk(1 << 24)
    write(folder)
    plenty = tmp_path / "plenty" / "results"
    plenty.mkdir(parents=True)
    write(plenty)
    assert contents(folder) == contents(plenty)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_warehouse_on_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, small_disk: Callable) -> None:
    disk = small_disk(1 << 20)
    study = Study(disk)
    study.add("8experts_bh_a030")
    with pytest.raises(InputError) as caught:
        study.build()
    check_line(str(caught.value), "study.duckdb", "no space left on device", str(disk))
    assert not [path for path in disk.iterdir() if "duckdb" in path.name]
    small_disk(1 << 26)
    assert study.build().query("SELECT config FROM metrics") == [{"config": "8experts_bh_a030"}]


ERRORS = [
    (OSError(errno.ENOSPC, "No space left on device", "results/x/y"), ["results/x/y", "no space left"]),
    (OSError(errno.ENOSPC, "No space left on device", b"results/x/y"), ["results/x/y", "no space left"]),
    (OSError(errno.ENOSPC, "No space left on device", 7), ["no space left"]),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), ["quota exceeded"]),
    (RuntimeError("IO Error: Could not write file: No space left on device"), ["no space left"]),
    (RuntimeError("Out of Memory Error: failed to offload data block of size 2"), ["no space left"]),
    (MemoryError(), ["too little memory", "batch_tokens", "mem_mb"]),
    (
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4"),
        ["too little", "--cores"],
    ),
    (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), ["too little memory", "gpu_mem_gb"]),
    (RuntimeError("std::bad_alloc"), ["too little memory", "batch_tokens"]),
]


@pytest.mark.parametrize(("error", "words"), ERRORS, ids=lambda value: str(value)[:30])
def test_a_shortage_is_one_line_of_the_job(
    error: Exception, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit), logged(tmp_path / "job.log"):
        try:
            raise error
        finally:  # what came of it is told as what it is
            raise KeyError("left over") from error
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (tmp_path / "job.log").read_text().strip()
    assert line.startswith("switchyard: error: ") and "same command" in line
    assert not [word for word in words if word not in line], line


MEMORY = """
import resource, sys
import numpy as np
from switchyard.artifacts.files import write_table
from switchyard.runtime.log import logged
import pyarrow as pa
with logged(sys.argv[1]):
    if sys.argv[2] == "little":
        resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
    numbers = np.arange(2**30)[:8] if sys.argv[2] == "little" else np.arange(8)
    write_table(sys.argv[3], pa.table({"number": numbers}))
"""


def test_a_job_without_memory_ends_in_one_line(tmp_path: Path) -> None:
    def job(memory: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", MEMORY, tmp_path / "job.log", memory, tmp_path / "numbers.parquet"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    ended = job("little")
    (line,) = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert (
        line.startswith("switchyard: error: too little memory (Unable to allocate") and "batch_tokens" in line
    )
    assert [path.name for path in tmp_path.iterdir()] == ["job.log"]
    assert job("enough").returncode == 0 and (tmp_path / "numbers.parquet").is_file()
