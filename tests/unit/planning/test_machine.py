"""What a machine is found to have."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from switchyard.errors import InputError
from switchyard.planning import machine
from switchyard.runtime.placement import Card


@pytest.mark.parametrize(("content", "gb"), [("2000000000\n", 2.0), ("max\n", None)])
def test_a_container_may_have_less_memory(content, gb, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(machine, "CGROUP_LIMIT", tmp_path / "memory.max")
    machine.CGROUP_LIMIT.write_text(content)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    found = machine.here(tmp_path, gpu_mem_gb=0)
    assert found.cores == os.cpu_count()
    assert found.mem_gb == (gb or psutil.virtual_memory().total / 1e9)


def test_more_cards_than_there_are_need_their_memory(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(machine, "visible", lambda: [Card("a", 24 * 10**9), Card("b", 32 * 10**9)])
    assert (machine.here(tmp_path).cards, machine.here(tmp_path, cards=1).cards) == (2, 1)
    with pytest.raises(InputError, match="--cards 3: this machine has 2; give --gpu-mem-gb"):
        machine.here(tmp_path, cards=3)
    assert machine.here(tmp_path, cards=3, gpu_mem_gb=80).cards == 3
