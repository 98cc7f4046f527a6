"""Files are whole or absent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from reference.damage import flip_bit, truncate
from switchyard.artifacts import files
from switchyard.errors import InputError


def test_file_takes_its_name_at_the_end_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.txt"
    with files.atomic(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
        assert partial.parent == path.parent
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_failure_leaves_what_was_there(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    path.write_text("old")
    with pytest.raises(RuntimeError), files.atomic(path) as partial:
        if kind == "file":
            partial.write_text("ha")
        else:
            partial.mkdir()
            (partial / "inner").write_text("lf")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_replaces_the_whole_folder(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for name in ("old", "new"):
        with files.atomic(path) as partial:
            partial.mkdir()
            (partial / name).touch()
    assert [file.name for file in path.iterdir()] == ["new"]


def test_partial_name_is_one_that_the_launcher_clears(tmp_path: Path) -> None:
    with files.atomic(tmp_path / "a.parquet") as partial:
        partial.touch()
        assert list(tmp_path.glob(".*.part")) == [partial]


def test_json_keeps_the_order_of_keys_and_takes_numpy(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    content = {"z": np.float32(0.1), "a": np.array([1, 2], dtype=np.int64), "ä": None}
    files.write_json(path, content)
    assert path.read_text(encoding="utf-8").index('"z"') < path.read_text(encoding="utf-8").index('"a"')
    read = files.read_json(path)
    assert np.float32(read["z"]) == np.float32(0.1)
    assert read["a"] == [1, 2] and read["ä"] is None


def test_table_carries_its_stamp_beside_other_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"x": [1.5, None]}).replace_schema_metadata({"kind": "text"})
    files.write_table(path, table, stamp={"code": "c0de"})
    assert files.read_stamp(path) == {"code": "c0de"}
    read = pa.parquet.read_table(path)
    assert read.to_pydict() == {"x": [1.5, None]}
    assert read.schema.metadata[b"kind"] == b"text"


def test_table_without_stamp_reads_as_empty(tmp_path: Path) -> None:
    files.write_table(tmp_path / "a.parquet", pa.table({"x": [1]}))
    assert files.read_stamp(tmp_path / "a.parquet") == {}


def test_equal_tables_are_equal_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        files.write_table(tmp_path / name, pa.table({"x": np.arange(1000) / 7}), stamp={"code": "c0de"})
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize("damage", [flip_bit, truncate])
@pytest.mark.parametrize("read", [files.read_table, files.check_pages])
@pytest.mark.parametrize(
    ("folder", "remedy"),
    [("results", "delete {}; the same command makes it again"), ("own", "fetch or make it again")],
)
def test_a_damaged_table_is_refused_by_name(
    tmp_path: Path, read: Callable, damage: Callable, folder: str, remedy: str
) -> None:
    path = tmp_path / folder / "a.parquet"
    path.parent.mkdir()
    files.write_table(path, pa.table({"x": np.arange(1000) / 7}))
    read(path)
    damage(path)
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: is damaged (")
    assert str(caught.value).endswith(remedy.format(path))


def test_truncated_json_is_refused_by_name(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"tokens_per_second": 1234})
    truncate(tmp_path / "a.json")
    with pytest.raises(InputError, match=r"a\.json: is damaged"):
        files.read_json(tmp_path / "a.json")


def test_a_file_that_is_not_there_is_not_damaged(tmp_path: Path) -> None:
    for read in (files.read_json, files.read_table, files.read_stamp):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "a")
