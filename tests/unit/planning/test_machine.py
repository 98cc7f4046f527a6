"""What a machine is found to have."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from switchyard.errors import InputError
from switchyard.planning import machine


def test_cores_where_no_process_is_bound_to_some(tmp_path: Path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert machine.here(tmp_path, gpu_mem_gb=0).cores == os.cpu_count()


@pytest.mark.parametrize(("content", "gb"), [("2000000000\n", 2.0), ("max\n", None), (None, None)])
def test_a_container_may_have_less_memory(content, gb, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(machine, "CGROUP_LIMIT", tmp_path / "memory.max")
    if content:
        machine.CGROUP_LIMIT.write_text(content)
    found = machine.here(tmp_path, gpu_mem_gb=0).mem_gb
    assert found == (gb or psutil.virtual_memory().total / 1e9)


def test_more_cards_than_there_are_need_their_memory(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(machine, "_cards", lambda: [24.0, 24.0])
    assert machine.here(tmp_path, cards=1).cards == 1
    with pytest.raises(InputError, match="this machine has 2; say with --gpu-mem-gb"):
        machine.here(tmp_path, cards=3)
    assert machine.here(tmp_path, cards=3, gpu_mem_gb=80).cards == 3


def test_a_cache_on_the_same_disk_is_no_other_disk(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "not" / "yet"))
    assert machine.here(tmp_path, gpu_mem_gb=0).cache_gb is None
    if os.stat("/proc").st_dev != tmp_path.stat().st_dev:
        monkeypatch.setenv("HF_HUB_CACHE", "/proc")
        assert machine.here(tmp_path, gpu_mem_gb=0).cache_gb == 0
        assert machine.here(tmp_path, gpu_mem_gb=0, disk_gb=5.0).cache_gb is None
